"""What a server says is bounded, without secrets, in one line, and read in no time."""

from __future__ import annotations

import itertools
import json
import logging
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pydantic
import pytest
from hostile import HOSTILE, SPELLINGS, cpu_s

from openai_parallel_toolkit.batch.judgement import judge_line
from openai_parallel_toolkit.batch.service import ResultLine, read_result
from openai_parallel_toolkit.batch.service.objects import batch_from
from openai_parallel_toolkit.calls.classify import classify
from openai_parallel_toolkit.calls.event_stream import read_event_stream
from openai_parallel_toolkit.calls.model_parameters import ModelParameters
from openai_parallel_toolkit.calls.rate_hints import rate_hints, retry_after_s, told_limit
from openai_parallel_toolkit.calls.structured import form_of, json_part
from openai_parallel_toolkit.calls.usage import read_usage
from openai_parallel_toolkit.core.errors import InvalidAnswer
from openai_parallel_toolkit.core.records import RawReply, Reply, Usage
from openai_parallel_toolkit.core.redaction import Redactor, Secret, guarded_logs, safe_words

KEY = "sk-proj-cAnary/0123+456789=abcdef"
REDACTOR = Redactor([Secret(KEY, "key-1")])
CHAT = "/chat/completions"


@pytest.mark.parametrize("status", [200, 400, 401, 404, 429, 500])
@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
def test_no_field_of_a_refusal_gives_the_key_back(spell: Callable[[str], str], status: int) -> None:
    shown = spell(KEY)
    names = ("code", "type", "message", "param", "status", "reason")
    body = json.dumps({"model": shown, "error": dict.fromkeys(names, shown)}).encode()
    headers = dict.fromkeys(("x-request-id", "retry-after"), shown)
    outcome, _ = classify(
        RawReply(status=status, headers=headers, body=body), CHAT, wall_s=0, clean=REDACTOR.clean
    )
    assert shown not in f"{outcome.code} {outcome.message} {outcome.request_id}"
    assert "[key-1]" in outcome.message
    line = ResultLine(
        custom_id="1", status=None, body=b"", code=shown, message=shown, request_id=shown
    )
    outcome, _ = judge_line(line, CHAT, wall_s=0, clean=REDACTOR.clean)
    assert shown not in f"{outcome.code} {outcome.message} {outcome.request_id}"


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
def test_no_name_in_an_answer_gives_the_key_back(spell: Callable[[str], str]) -> None:
    shown = spell(KEY)
    choice = {"message": {"content": "a text"}, "finish_reason": shown}
    body = json.dumps({"model": shown, "choices": [choice]}).encode()
    reply = RawReply(status=200, headers={"x-request-id": shown}, body=body)
    outcome, answer = classify(reply, CHAT, wall_s=0, clean=REDACTOR.clean)
    assert answer is not None
    told = (outcome.code, outcome.message, outcome.request_id, answer.model, answer.finish_reason)
    assert shown not in " ".join(told)


@pytest.mark.parametrize("cut", range(33))
def test_a_cut_leaves_no_part_of_a_key(cut: int) -> None:
    text = "x" * cut + KEY * 300
    assert KEY[:6] not in safe_words(text, REDACTOR.clean, 2_000)


@pytest.mark.parametrize(
    "bit",
    ["a.", "%25", "%2525", "&#x2d;", "QUJDREVG", "\\", "\\u002d", "{", "[", "a://b:", "9", "\x1b"],
)
def test_ten_megabytes_of_anything_are_read_in_no_time(bit: str) -> None:
    text = bit * (10_000_000 // len(bit))
    headers = dict.fromkeys(("retry-after", "x-request-id", "x-ratelimit-limit-requests"), text)
    reply = RawReply(status=429, headers=headers, body=text.encode())
    outcome, _ = classify(reply, CHAT, wall_s=0, clean=REDACTOR.clean)
    assert len(outcome.message) <= 1_000
    assert len(safe_words(text, REDACTOR.clean, 2_000)) <= 2_000
    assert cpu_s(lambda: classify(reply, CHAT, wall_s=0, clean=REDACTOR.clean)) < 0.1
    assert cpu_s(lambda: safe_words(text, REDACTOR.clean, 2_000)) < 0.1


class Form(pydantic.BaseModel):
    a: int


def read_as_form(text: str) -> None:
    form = form_of(Form)
    assert form is not None
    reply = Reply(text=text, finish_reason="stop", usage=Usage(), model="m", raw={})
    with pytest.raises(InvalidAnswer) as caught:
        form.read(reply)
    assert len(str(caught.value)) < 2_000


def judge(text: str, status: int) -> None:
    line = ResultLine(
        custom_id="1", status=status, body=b"{}", code=text, message=text, request_id=text
    )
    judge_line(line, CHAT, wall_s=0, clean=REDACTOR.clean)


def tell_failure(text: str) -> None:
    error = ValueError(text)
    frames = "".join(traceback.format_exception(error))
    assert len(safe_words(str(error), REDACTOR.clean, 2_000)) <= 2_000
    assert len(safe_words(frames, REDACTOR.clean, 8_000, keep="\n")) <= 8_000


#: What reads a server's words, or a hook's: texts and bytes.
READERS: dict[str, Callable[[str, bytes], object]] = {
    "answer": lambda _, body: classify(
        RawReply(status=200, headers={}, body=body), CHAT, wall_s=0, clean=REDACTOR.clean
    ),
    "refusal": lambda text, body: RawReply(
        status=400, headers={"x-request-id": text}, body=body
    ).as_refusal(REDACTOR.clean),
    "events": lambda _, body: read_event_stream(b"data: " + body),
    "batch line": lambda _, body: read_result(body),
    "batch answer": lambda text, _: judge(text, 200),
    "batch refusal": lambda text, _: judge(text, 400),
    "batch": lambda text, _: batch_from({"id": text, "status": text}, REDACTOR.clean),
    "json": lambda text, _: json_part(text),
    "form": lambda text, _: read_as_form(text),
    "usage": lambda text, _: read_usage({"usage": {"prompt_tokens": text}, "service_tier": text}),
    "hints": lambda text, _: rate_hints({"x-ratelimit-limit-requests": text}, 0),
    "waiting": lambda text, body: retry_after_s({"x-ratelimit-reset-requests": text}, 0, body),
    "limits": lambda text, _: told_limit(text),
    "parameters": lambda _, body: ModelParameters().learn(CHAT, "m", body),
    "failure": lambda text, _: tell_failure(text),
}


BITS = ("a.", "{", "[", "{\n", '"', "1,", "{}", "data: {}\n\n", "```{\n")
#: Good JSON by the million is work, and so are lines for the traceback module.
WORK = {("events", "{}"), ("answer", "{}"), *(("failure", bit) for bit in BITS if "\n" in bit)}


@pytest.mark.parametrize(
    ("name", "bit"), [one for one in itertools.product(READERS, BITS) if one not in WORK]
)
def test_ten_megabytes_are_read_in_no_time(name: str, bit: str) -> None:
    read = READERS[name]
    text = bit * (10_000_000 // len(bit))
    body = text.encode()
    since_s = time.thread_time()
    read(text, body)
    if time.thread_time() - since_s >= 0.1:  # once may be chance
        assert cpu_s(lambda: read(text, body)) < 0.1


def test_codes_and_types_of_a_megabyte_are_kept_short() -> None:
    error = {"code": "c" * 1_000_000, "type": "t" * 1_000_000, "message": "m" * 1_000_000}
    reply = RawReply(
        status=400,
        headers={"x-request-id": "r" * 1_000_000},
        body=json.dumps({"error": error}).encode(),
    )
    outcome, _ = classify(reply, CHAT, wall_s=0, clean=REDACTOR.clean)
    assert len(outcome.code) <= 200
    assert len(outcome.request_id) <= 200
    assert len(outcome.message) <= 1_000


def test_what_a_server_says_is_one_line_without_control_characters() -> None:
    body = json.dumps({"error": {"code": HOSTILE, "message": HOSTILE}}).encode()
    reply = RawReply(status=400, headers={"x-request-id": HOSTILE}, body=body)
    outcome, _ = classify(reply, CHAT, wall_s=0, clean=REDACTOR.clean)
    assert f"{outcome.code}{outcome.message}{outcome.request_id}".isprintable()
    assert "forged" in outcome.message


def test_nobody_writes_a_line_of_their_own_into_the_log_file(tmp_path: Path) -> None:
    log = tmp_path / "toolkit.log"
    logger = logging.getLogger("openai_parallel_toolkit.runs")
    with guarded_logs(REDACTOR, str(log)):
        logger.warning("failed: %s", HOSTILE)
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            logger.exception("a hook: %s", HOSTILE)
    lines = log.read_text(encoding="utf-8").split("\n")
    assert [line for line in lines if line.startswith("2026-11-27 00:00:00 ERROR")] == []
    assert all(line.isprintable() for line in lines)
    assert sum("forged" in line for line in lines) == 3
