"""The outcome table, row by row."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_parallel_toolkit.calls.classify import classify
from openai_parallel_toolkit.calls.rate_hints import duration_s
from openai_parallel_toolkit.core.records import OutcomeKind, RawReply
from openai_parallel_toolkit.transport import SendFault

CHAT = "/chat/completions"


def end(status, body=b"", **headers):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return RawReply(status=status, headers=headers, body=body)


def error(code=None, kind=None, message="no"):
    return {"error": {"message": message, "type": kind, "code": code}}


def kind_of(ended, path=CHAT):
    return classify(ended, path, wall_s=1_800_000_000, clean=str)[0].kind


CHOICE = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}


@pytest.mark.parametrize(
    ("ended", "kind"),
    [
        (end(200, CHOICE), "ok"),
        (end(200, CHOICE, **{"content-type": "text/html"}), "ok"),
        (end(200, b"<html>gateway</html>"), "unknown"),
        (end(200, b'{"choices": [{"mess'), "unknown"),
        (end(200, {"choices": None}), "unknown"),
        (end(200, {"choices": []}), "unknown"),
        (end(200, b"[1, 2]"), "unknown"),
        (end(200, b""), "unknown"),
        (end(200, {"error": {"code": 429, "message": "slow down"}}), "busy"),
        (end(200, {"error": {"code": 502, "message": "upstream"}}), "busy"),
        (end(200, {"error": {"code": 401, "message": "no"}}), "key_dead"),
        (end(200, {"error": {"code": 0, "message": "no"}}), "busy"),
        (end(200, {"error": {"code": 200, "message": "no"}}), "busy"),
        (end(200, {"error": {"code": 1302, "message": "no"}}), "busy"),
        (end(429, error("rate_limit_exceeded")), "busy"),
        (end(429, error("insufficient_quota", "insufficient_quota")), "key_dead"),
        (end(429, error(None, "insufficient_quota")), "key_dead"),
        (end(429, b"<html>slow down</html>"), "busy"),
        (end(408), "busy"),
        (end(498, error("capacity_exceeded")), "busy"),
        (end(409, error()), "busy"),
        (end(500, error()), "busy"),
        (end(500, error("insufficient_quota", "insufficient_quota")), "busy"),
        (end(503, error("invalid_api_key")), "busy"),
        (end(502, b"<html>"), "busy"),
        (end(503), "busy"),
        (end(529, error(None, "overloaded_error")), "busy"),
        (end(520, b"<html>"), "busy"),
        (end(521, b"<html>"), "busy"),
        (end(522, b"<html>"), "busy"),
        (end(523, b"<html>"), "busy"),
        (end(504, b"<html>"), "unknown"),
        (end(524, b"<html>"), "unknown"),
        (end(401, error("invalid_api_key")), "key_dead"),
        (end(401, error("account_deactivated")), "key_dead"),
        (end(402, error()), "rejected"),
        (end(402, error("insufficient_balance")), "key_dead"),
        (end(403, error()), "rejected"),
        (end(403, error("insufficient_quota")), "key_dead"),
        (end(403, error("model_not_found")), "not_here"),
        (end(404, error("model_not_found")), "not_here"),
        (end(404, error("DeploymentNotFound")), "not_here"),
        (end(404, error()), "rejected"),
        (end(404, b"page not found"), "rejected"),
        (end(400, error("context_length_exceeded")), "rejected"),
        (end(400, error("content_filter")), "rejected"),
        (end(413), "rejected"),
        (end(422, error()), "rejected"),
        (end(307, b"", location="https://elsewhere"), "rejected"),
        (SendFault("unsent", "dns", "no such host"), "unsent"),
        (SendFault("unknown", "read", "reset"), "unknown"),
    ],
)
def test_each_end_has_its_outcome(ended, kind):
    assert kind_of(ended) is OutcomeKind(kind)


def test_an_answer_without_text_is_still_an_answer_and_says_why():
    reply = end(200, {"choices": [{"message": {"content": None}, "finish_reason": "length"}]})
    outcome, answer = classify(reply, CHAT, wall_s=0, clean=str)
    assert outcome.kind is OutcomeKind.UNUSABLE
    assert (answer.text, answer.finish_reason) == ("", "length")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "20"}, 20),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:30 GMT"}, 30),
        ({"retry-after": "Fri, 15 Jan 2021 08:00:30 GMT"}, 0),
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_every_form(headers, seconds):
    outcome, _ = classify(end(429, b"", **headers), CHAT, wall_s=1_800_000_000, clean=str)
    assert outcome.retry_after_s == seconds


@given(st.text() | st.just("Thu, 01 Jan 0000 00:00:00 GMT"))
def test_no_retry_after_can_break_the_reading(text):
    outcome, _ = classify(end(429, b"", **{"retry-after": text}), CHAT, wall_s=0, clean=str)
    assert outcome.retry_after_s is None or outcome.retry_after_s >= 0


@given(st.integers(100, 599), st.binary(max_size=200))
def test_any_reply_has_an_outcome(status, body):
    outcome, answer = classify(end(status, body), CHAT, wall_s=0, clean=str)
    assert (answer is not None) == outcome.kind.is_answer


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "message",
                    "content",
                    "usage",
                    "error",
                    "data",
                    "output",
                    "code",
                    "type",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    json_values, st.sampled_from([CHAT, "/embeddings", "/responses"]), st.sampled_from([200, 429])
)
def test_any_json_has_an_outcome(value, path, status):
    kind_of(end(status, value), path)


def test_a_providers_words_are_cleaned_of_secrets():
    reply = end(401, error("invalid_api_key", message="Incorrect key sk-live-1234567"))
    outcome, _ = classify(reply, CHAT, wall_s=0, clean=lambda t: t.replace("sk-live-1234567", "*"))
    assert outcome.message == "Incorrect key *"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("6m0s", 360), ("12ms", 0.012), ("1s", 1), ("8.64s", 8.64), ("1h2m3s", 3723), ("7", 7)],
)
def test_limit_headers_tell_durations(text, seconds):
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", None, "soon", "1x", "m", "1.2.3s"])
def test_what_is_no_duration_is_none(text):
    assert duration_s(text) is None
