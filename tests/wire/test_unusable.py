"""Answers that were paid for and are of no use: kept, told, and asked for again by a later run."""

import contextlib
import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from wire_fixture import MODEL, Ask, check_books, question

from openai_parallel_toolkit import request_openai_api, request_reply
from openai_parallel_toolkit.simulator import Fault

KINDS = ["finish_length", "finish_content_filter", "empty_content"]


class Takes(Ask):
    """Writes how the answer ended, and fails until it is told to be content."""

    is_content = False

    def process_data(self, data):
        reply = request_reply(question(data))
        if not self.is_content:
            raise ValueError(reply.finish_reason)
        return [reply.finish_reason, reply.is_whole, reply.is_earlier]


class Content(Takes):
    is_content = True


@pytest.mark.parametrize("kind", KINDS)
def test_a_later_run_asks_again_for_what_was_unusable(fixture, kind):
    sim = fixture.simulate(faults=[Fault(kind, per_payload=True, times=1)])
    first = fixture.inputs(2).configure(sim).run()
    assert (first.failed, first.calls.sent, first.calls.answered) == (2, 2, 2)
    assert {line["kind"] for line in fixture.failures(first)} == {"IncompleteAnswer"}
    check_books(fixture, sim, first)
    second = fixture.run()
    assert (second.done, second.calls.sent, second.calls.replayed) == (2, 2, 2)
    with fixture.journal() as journal:
        attempts = journal.file("f000.txt").attempts
    assert [(a.ending.kind.value, a.attempt_try, a.answer is not None) for a in attempts] == [
        ("unusable", 0, True), ("ok", 1, True)
    ]  # fmt: skip
    assert all(attempt.ending.cost_usd > 0 for attempt in attempts)


def test_a_file_whose_answers_stay_unusable_is_put_aside_until_it_is_asked_for(fixture):
    sim = fixture.simulate(faults=[Fault("empty_content", times=4)])
    fixture.inputs(1).configure(sim)
    sent = [fixture.run().calls.sent for _ in range(5)]
    assert sent == [1, 1, 1, 0, 0]
    assert [fixture.run(retry_failed=True).calls.sent for _ in range(2)] == [1, 1]
    assert set(fixture.outputs()) == {"f000.json"}
    assert sim.ledger.billed() == 5


def test_in_one_run_an_unusable_answer_is_not_bought_again(fixture):
    class Insists(Ask):
        def process_data(self, data):
            with contextlib.suppress(Exception):
                return request_openai_api(question(data))
            raise ValueError("no second one")

    sim = fixture.simulate(faults=[Fault("finish_length")])
    assert fixture.inputs(3).configure(sim).run(Insists).failed == 3
    assert sim.ledger.billed() == 3


def test_whoever_takes_answers_as_they_are_gets_the_kept_one(fixture):
    sim = fixture.simulate(faults=[Fault("finish_length")])
    assert fixture.inputs(2).configure(sim).run(Takes).failed == 2
    summary = fixture.run(Content)
    assert (summary.done, summary.calls.sent, summary.calls.replayed) == (2, 0, 2)
    assert json.loads(fixture.outputs()["f000.json"]) == ["length", False, True]


def test_retry_failed_asks_again_whoever_would_take_the_kept_one(fixture):
    sim = fixture.simulate(faults=[Fault("finish_length", per_payload=True, times=1)])
    assert fixture.inputs(2).configure(sim).run(Takes).failed == 2
    summary = fixture.run(Content, retry_failed=True)
    assert (summary.done, summary.calls.sent) == (2, 2)
    assert json.loads(fixture.outputs()["f000.json"]) == ["stop", True, False]


def test_force_asks_again_only_for_what_was_unusable(fixture):
    class Goes(Ask):
        def process_data(self, data):
            with contextlib.suppress(Exception):
                return request_openai_api(question(data))
            return "nothing"

    sim = fixture.simulate(faults=[Fault("empty_content", marker="file 0", times=1)])
    assert fixture.inputs(2).configure(sim).run(Goes).done == 2
    summary = fixture.run(Goes, force=True)
    assert (summary.done, summary.calls.sent, summary.calls.replayed) == (2, 1, 2)
    assert json.loads(fixture.outputs()["f000.json"]) != "nothing"


# --- what came in odd clothes -----------------------------------------------------------------


@contextlib.contextmanager
def serving(answer):
    """Serve `answer(n, body)`, a body or (headers, body), and yield the URL and what was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            told = answer(len(asked), asked[-1])
            headers, body = told if isinstance(told, tuple) else ({}, told)
            body = body if isinstance(body, bytes) else body.encode()
            self.send_response(200)
            for name, value in {"Content-Length": len(body), **headers}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", asked
    finally:
        server.shutdown()
        server.server_close()


USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def chat(content, reason="stop", usage=USAGE, **choice):
    message = {"role": "assistant", "content": content}
    one = {"index": 0, "message": message, "finish_reason": reason, **choice}
    return json.dumps({"model": MODEL, "choices": [one], "usage": usage})


def stream(*words, end="data: [DONE]\n\n"):
    chunks = [{"model": MODEL, "choices": [{"index": 0, "delta": {"content": w}}]} for w in words]
    chunks.append({"choices": [], "usage": USAGE})
    return "".join(f"data: {json.dumps(one)}\n\n" for one in chunks) + end


def one_file(fixture, url):
    fixture.inputs(1).configure_at(url, [{"key": "sk-one", "name": "one"}])
    return fixture


@pytest.mark.parametrize(
    "answer",
    [
        stream("Yes", "."),
        ({"Content-Type": "text/event-stream"}, ": wait\n\n" + stream("Yes", ".")),
        chat("Yes.") + "\n\ndata: [DONE]\n\n",
        "\n\n  \n" + chat("Yes."),
        chat([{"type": "thinking", "thinking": []}, {"type": "text", "text": "Yes."}]),
        ({"Content-Encoding": "gzip"}, None),
    ],
)
def test_an_answer_that_is_there_is_used_paid_once_and_replayed(fixture, answer):
    if answer == ({"Content-Encoding": "gzip"}, None):
        packed = gzip.compress(stream("Yes", ".").encode())
        answer = ({"Content-Encoding": "gzip", "Content-Length": len(packed)}, packed)
    with serving(lambda n, body: answer) as (url, asked):
        summary = one_file(fixture, url).run()
        assert (summary.done, summary.calls.sent, summary.calls.unknown) == (1, 1, 0)
        assert summary.calls.tokens == 15
        assert json.loads(fixture.outputs()["f000.json"]) == "Yes."
        again = fixture.run(force=True)
    assert (again.done, again.calls.sent, again.calls.replayed) == (1, 0, 1)
    assert [body["stream"] for body in asked] == [False]


def test_a_stream_that_was_cut_may_be_billed_and_is_asked_again_once(fixture):
    with serving(lambda n, body: stream("Half", end="")) as (url, asked):
        summary = one_file(fixture, url).run()
        (failure,) = fixture.failures(summary)
    assert (failure["kind"], summary.calls.unknown, len(asked)) == ("OutcomeUnknown", 2, 2)


BROKE = {"code": 502, "message": "Upstream broke"}


@pytest.mark.parametrize(
    "error",
    [
        json.dumps({"error": BROKE}),
        json.dumps({"error": "upstream request timeout"}),
        json.dumps({"choices": None, "error": {"message": "wait", "code": "429"}}),
        chat("", "error", None, error=BROKE),
    ],
)
def test_an_error_in_the_guise_of_a_success_that_billed_nothing_passes(fixture, error):
    with serving(lambda n, body: error if n == 1 else chat("Yes.")) as (url, asked):
        summary = one_file(fixture, url).run()
    assert (summary.done, summary.calls.unknown, len(asked)) == (1, 0, 2)


def test_a_half_answer_with_an_error_is_told_in_the_providers_words_and_asked_again(fixture):
    def answer(n, body):
        broken = chat("The first half of the ans", "error", error={**BROKE, "key": "sk-one"})
        return broken if n == 1 else chat("Yes.")

    with serving(answer) as (url, _):
        first = one_file(fixture, url).run()
        (failure,) = fixture.failures(first)
        assert failure["kind"] == "IncompleteAnswer"
        assert "(error) after 5 tokens: Upstream broke" in failure["message"]
        assert (first.calls.sent, first.calls.cost_usd > 0, fixture.outputs()) == (1, True, {})
        assert fixture.run().done == 1
