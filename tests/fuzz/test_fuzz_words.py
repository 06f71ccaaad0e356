"""Whatever a server says: an outcome, a reply, or an error of ours; never the key."""

import contextlib
import socket
import threading
from contextlib import closing

import pytest
from fuzzing import JSON, KEY, NAMES, SHOWN, TEXTS, WORDS, dumped, error_of, search, shows_key
from hypothesis import strategies as st

from openai_parallel_toolkit import APIKeyManager, Gpt35Turbo, request_openai_api
from openai_parallel_toolkit.batch.judgement import ended_batch, judge_line
from openai_parallel_toolkit.batch.service import read_result
from openai_parallel_toolkit.batch.service.objects import batch_from, file_from
from openai_parallel_toolkit.calls.classify import classify
from openai_parallel_toolkit.calls.model_parameters import ModelParameters
from openai_parallel_toolkit.calls.responses import KNOWN_PATHS
from openai_parallel_toolkit.calls.structured import json_part
from openai_parallel_toolkit.core.records import RawReply
from openai_parallel_toolkit.core.redaction import Redactor, Secret

CLEAN = Redactor([Secret(KEY, "the key")]).clean
PATHS = st.sampled_from((*KNOWN_PATHS, "/batches", "/audio/speech"))
STATUSES = st.sampled_from((200, 201, 204, 301, 400, 401, 402, 403, 404, 408, 413, 429, 500, 504))
_READ = """
    content-type retry-after retry-after-ms x-request-id x-ratelimit-limit-requests
    x-ratelimit-remaining-tokens x-ratelimit-reset-tokens ratelimit-reset
"""
HEADERS = st.dictionaries(
    st.sampled_from(_READ.split()),
    WORDS,
    max_size=4,
)


def is_safe(outcome):
    told = (outcome.code, outcome.message, outcome.request_id)
    return not shows_key(*told) and "".join(told).isprintable()


def test_replies(seconds):
    def check(status, headers, body, path):
        raw = RawReply(status=status, headers=headers, body=body)
        outcome, reply = classify(raw, path, wall_s=1e9, clean=CLEAN)
        assert is_safe(outcome)
        if reply is not None:
            assert not shows_key(reply.model, reply.finish_reason, reply.trouble, reply.usage)
            json_part(reply.text)
        assert not shows_key(raw.as_kept(CLEAN).headers, raw.as_refusal(CLEAN).body.decode())
        ModelParameters().learn(path, "m", body)

    search(seconds, check, status=STATUSES, headers=HEADERS, body=TEXTS, path=PATHS)


def test_lines_of_results_and_batches(seconds):
    def check(line, path, raw):
        result = read_result(line)
        if result is not None:
            outcome, _ = judge_line(result, path, wall_s=1e9, clean=CLEAN)
            assert is_safe(outcome)
        file, batch = file_from(raw, CLEAN), batch_from(raw, CLEAN)
        if file is not None:
            assert not shows_key(file.id)
        if batch is not None:
            assert not shows_key(batch.id, batch.input_file_id, batch.output_file_id)
            assert is_safe(ended_batch(batch, 0, clean=CLEAN).rest)

    response = st.fixed_dictionaries(
        {"status_code": STATUSES | WORDS, "body": JSON, "request_id": WORDS}
    )
    lines = st.fixed_dictionaries({"custom_id": WORDS, "response": response | JSON, "error": JSON})
    known = st.fixed_dictionaries({"id": WORDS, "status": WORDS | st.just("failed")})
    raws = st.builds(
        lambda one, more: {**more, **one}, known, st.dictionaries(NAMES, JSON, max_size=6)
    )
    search(seconds, check, line=lines.map(dumped) | TEXTS, path=PATHS, raw=raws)


def test_texts_in_which_the_key_hides(seconds):
    def check(before, form, after):
        assert not shows_key(CLEAN(before + form + after))

    edges = st.text(alphabet='ab09-_/+=% &;\\"{}:.@\n', max_size=12)
    search(seconds, check, before=edges, form=st.sampled_from(SHOWN), after=edges)


@pytest.fixture
def raw_server():
    """A server that sends whatever `replies` says to each connection, piece by piece."""
    replies: list[list[bytes]] = []
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:

        def serve():
            while True:
                sock, _ = server.accept()
                with sock, contextlib.suppress(OSError):
                    sock.settimeout(5)
                    if not replies:
                        return
                    if not sock.recv(65_536):
                        continue
                    for piece in replies[0]:
                        sock.sendall(piece)

        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        yield f"http://127.0.0.1:{port}/v1", replies
        replies.clear()
        socket.create_connection(("127.0.0.1", port)).close()
        thread.join(10)


HEAD_LINES = st.lists(
    st.one_of(
        st.sampled_from(
            (
                *(
                    "content-length: 5",
                    "content-length: -1",
                    "content-length: 99999999999999999999",
                ),
                *("transfer-encoding: chunked", "content-encoding: gzip", "content-encoding: br"),
                *("connection: close", "content-type: text/html", "location: /", ": ", "a" * 9_000),
                *(f"x-request-id: {KEY}", "set-cookie: a=b", "keep-alive: timeout=5"),
            )
        ),
        st.text(max_size=20),
    ),
    max_size=4,
)
FIRST_LINES = st.sampled_from(
    (
        "HTTP/1.1 200 OK",
        "HTTP/1.1 400 " + KEY,
        "HTTP/1.0 429 x",
        "HTTP/9 1",
        "HTTP/1.1 101 x",
        "",
        KEY,
    )
)
BODIES = st.one_of(
    TEXTS, TEXTS.map(lambda body: f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n")
)


def test_bytes_on_a_connection(seconds, raw_server):
    url, replies = raw_server
    given = {"key": KEY, "name": "the key", "api_base": url}

    def check(first, lines, body, cut):
        head = "\r\n".join([first, *lines, "", ""]).encode("utf-8", "surrogatepass")
        whole = head + body
        replies[:] = [[whole[:cut], whole[cut:]]]
        answers = []

        def ask():
            answers.append(request_openai_api(Gpt35Turbo(content="x"), keys, max_retries=0))

        with closing(APIKeyManager([given])) as keys:
            error = error_of(ask)
        assert error is not None or isinstance(answers[0], str)
        assert not shows_key(error, repr(error), getattr(error, "__dict__", ""))
        assert str(error).replace("\n", "").isprintable()

    # An outage is probed at pauses, and a limit is waited for: a fresh manager knows of neither.
    statuses = FIRST_LINES.filter(lambda line: " 429" not in line)
    search(seconds, check, first=statuses, lines=HEAD_LINES, body=BODIES, cut=st.integers(0, 80))
