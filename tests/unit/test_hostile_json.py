"""What no JSON parser, journal or price list should have to read is a broken reply like any other.

Each place of a good reply in turn holds what a hostile or mistaken server may put there.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import fields
from itertools import product
from typing import Any
from urllib.parse import quote

import pytest

from openai_parallel_toolkit.batch.judgement import ended_batch, judge_line, line_cost_usd
from openai_parallel_toolkit.batch.service.objects import batch_from, file_from, read_result
from openai_parallel_toolkit.calls.classify import classify
from openai_parallel_toolkit.calls.responses import parse_object
from openai_parallel_toolkit.core.records import RawReply
from openai_parallel_toolkit.costs.prices import PriceBook

HOSTILE = [
    *("NaN", "Infinity", "-Infinity", "1e999", "-1", "1.5", "true", "null", "[]", "{}", '""'),
    *("1" + "0" * 400, "-1" + "0" * 400, "1" + "0" * 5_000, f'"{"9" * 5_000}"', '"NaN"'),
    *('"\\ud800"', '"\\udc00x"', '"a\\u0000b"', '"1e999"', f'"{"x" * 5_000}"'),
    *("[" * 900 + "]" * 900, '{"parts":[' * 400 + "]}" * 400, "[" * 5_000 + "]" * 5_000),
    '{"code":1,"code":2}',
]
HEADERS = [
    *("nan", "inf", "-inf", "1e999", "-1", "9" * 5_000, "1" + "0" * 400, "", " ", "\u0663", "0x10"),
    *("Thu, 01 Jan 99999 00:00:00 GMT", "Thu, 01 Jan 1 00:00:00 -9999", "1h" * 50, "\udc80"),
]
ERROR: dict[str, Any] = {
    "error": {
        "message": "no",
        "type": "t",
        "code": "c",
        "param": "p",
        "details": [{"reason": "r", "retryDelay": "3s"}],
        "metadata": {"raw": "{}", "headers": {"Retry-After": "3"}},
    }
}
CHAT: dict[str, Any] = {
    "object": "chat.completion",
    "model": "gpt-4o",
    "choices": [
        {
            "index": 0,
            "message": {"content": [{"type": "text", "text": "hi"}], "tool_calls": []},
            "logprobs": {"content": [{"logprob": -1.0}]},
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "total_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 1},
    },
    "service_tier": "default",
}
BATCH = {
    "id": "b",
    "status": "completed",
    "endpoint": "/v1/chat/completions",
    "output_file_id": "o",
    "request_counts": {"total": 1, "completed": 1, "failed": 0},
    "metadata": {"a": "b"},
    "created_at": 1,
    "completed_at": 2,
    "errors": {"data": [{"code": "c", "message": "m", "line": 1, "param": "p"}]},
}
FILE = {"id": "f", "filename": "n", "bytes": 1, "status": "processed", "created_at": 1}
ANSWERED = {"custom_id": "attempt-1", "response": {"status_code": 200, "body": CHAT}}
REFUSED = {"custom_id": "attempt-1", "response": {"status_code": 400, "body": ERROR}}
PRICES = PriceBook({})
JOURNAL = sqlite3.connect(":memory:")


def places(value: Any) -> Iterator[Any]:
    """Yield copies of a value in which one place, then the next, holds a mark."""
    yield "@@"
    parts = enumerate(value) if isinstance(value, list) else ()
    for name, part in value.items() if isinstance(value, dict) else parts:
        for marked in places(part):
            copy: Any = value.copy()
            copy[name] = marked
            yield copy


def can_be_kept(record: Any) -> None:
    """Bind each text and number as a journal does."""
    given = [getattr(record, field.name) for field in fields(record)]
    plain = [value for value in given if isinstance(value, str | int)]
    JOURNAL.execute(f"select {', '.join('?' * len(plain))}", plain).close()


def read_live(body: bytes) -> None:
    for status in (200, 429):
        _judged(RawReply(status=status, headers={}, body=body))


def _judged(raw: RawReply) -> None:
    outcome, reply = classify(raw, "/chat/completions", wall_s=0.0, clean=str)
    can_be_kept(outcome)
    if reply is not None:
        can_be_kept(reply.usage)
        json.dumps([reply.model, reply.finish_reason, reply.trouble], ensure_ascii=False).encode()
        PRICES.cost_usd("gpt-4o", reply.usage)


def read_batch(body: bytes) -> None:
    remote = batch_from(parse_object(body) or {}, str)
    if remote is not None:
        can_be_kept(ended_batch(remote, 1, clean=str).rest)
        quote(f"{remote.id}{remote.output_file_id}{remote.error_file_id}")
        can_be_kept(remote)


def read_file(body: bytes) -> None:
    file = file_from(parse_object(body) or {}, str)
    if file is not None:
        quote(file.id)
        can_be_kept(file)


def read_line(body: bytes) -> None:
    result = read_result(body)
    if result is not None:
        outcome, _ = judge_line(result, "/chat/completions", wall_s=0.0, clean=str)
        can_be_kept(outcome)
        line_cost_usd(PRICES, "gpt-4o", result.body, outcome.usage)


@pytest.mark.parametrize(
    ("good", "read"),
    [
        (CHAT, read_live),
        (ERROR, read_live),
        (BATCH, read_batch),
        (FILE, read_file),
        (ANSWERED, read_line),
        (REFUSED, read_line),
    ],
)
def test_nothing_in_a_reply_raises_and_all_of_it_can_be_kept(
    request: pytest.FixtureRequest, good: dict[str, Any], read: Callable[[bytes], None]
) -> None:
    step = 1 if request.config.getoption("--full") else 7  # no divisor of the number of values
    texts = [json.dumps(marked) for marked in places(good)]
    for text, value in [*product(texts, HOSTILE)][::step]:
        read(text.replace('"@@"', value).encode())


@pytest.mark.parametrize(
    "name",
    [
        *("retry-after", "retry-after-ms", "x-ratelimit-limit-tokens", "x-request-id"),
        *("x-ratelimit-remaining-requests", "x-ratelimit-reset-tokens", "content-type"),
    ],
)
def test_nothing_in_a_header_raises(name: str) -> None:
    limits = {f"x-ratelimit-{n}-{of}": "1" for n in ("limit", "remaining") for of in ("tokens",)}
    for value in HEADERS:
        for status in (200, 429, 503):
            headers = {**limits, name: value}
            _judged(RawReply(status=status, headers=headers, body=json.dumps(ERROR).encode()))


def test_an_answer_whose_probabilities_are_no_numbers_is_an_answer() -> None:
    body = json.dumps(CHAT).replace("-1.0", "-Infinity").encode()
    _, reply = classify(
        RawReply(status=200, headers={}, body=body), "/chat/completions", wall_s=0.0, clean=str
    )
    assert reply is not None
    assert (reply.text, reply.usage.total_tokens) == ("hi", 5)


def test_numbers_without_sense_in_a_batch_are_not_there() -> None:
    text = json.dumps({**BATCH, "created_at": "@@", "request_counts": {"total": "@@"}})
    for value in ("NaN", "Infinity", "1e999", "1" + "0" * 400):
        remote = batch_from(parse_object(text.replace('"@@"', value).encode()) or {}, str)
        assert remote is not None
        assert (remote.total, remote.created_wall_s) == (0, 0.0)


@pytest.mark.parametrize("bad_id", ["\ud800", "x" * 5_000, ""])
def test_what_has_no_usable_id_is_no_batch_and_no_file(bad_id: str) -> None:
    assert batch_from({**BATCH, "id": bad_id}, str) is None
    assert file_from({**FILE, "id": bad_id}, str) is None
