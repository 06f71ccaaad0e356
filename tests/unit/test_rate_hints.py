"""Headers and bodies are hints: read in every form that servers use, harmless in any other."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_parallel_toolkit.calls.rate_hints import (
    LONGEST_WAIT_S,
    rate_hints,
    retry_after_s,
    told_limit,
)
from openai_parallel_toolkit.core.records import RateHints

#: 2027-01-15T08:00:00Z.
NOW_S = 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30),
        ("1.5", 1.5),
        (" 30s ", 30),
        ("2m", 120),
        ("1m30.5s", 90.5),
        ("500ms", 0.5),
        ("1h 2m", 3720),
        ("30 seconds", 30),
        ("2 minutes", 120),
        ("250µs", 0.00025),
        ("1800000030", 30),
        ("1800000030.5", 30.5),
        ("1800000030000", 30),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30),
        ("2027-01-15T08:00:30Z", 30),
        ("2027-01-15T09:00:30.123456789+01:00", 30),
        ("2027-01-15 08:00:30", 30),
        ("3600", 3600),
        ("999999999", LONGEST_WAIT_S),
        ("1e300", LONGEST_WAIT_S),
        ("9" * 50, LONGEST_WAIT_S),
        ("1799999000", 0),
        ("PT30S", 30),
        ("PT1M30.5S", 90.5),
        ("P1D", 86_400),
        ("00:00:30", 30),
        ("1:30", 90),
        ('"30"', 30),
        ("30, 30", 30),
        ("30;comment=x", 30),
        ("2027-01-15 08:00:30 UTC", 30),
        ("-5", 0),
        ("", None),
        ("soon", None),
        ("30 parsecs", None),
        ("nan", None),
        ("inf", None),
        ("9" * 5000, None),
    ],
)
def test_a_retry_after_is_seconds_a_duration_or_a_time(text, seconds):
    assert retry_after_s({"retry-after": text}, NOW_S) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"x-ms-retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9),
        ({"retry-after": "0", "x-ratelimit-reset-requests": "4s"}, 4),
        ({"x-ratelimit-reset-requests": "2s", "x-ratelimit-remaining-requests": "0"}, 2),
        ({"x-ratelimit-reset-requests": "2s", "x-ratelimit-remaining-requests": "7"}, None),
        (
            {
                "x-ratelimit-reset-requests": "2s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-tokens": "6m0s",
                "x-ratelimit-remaining-tokens": "900",
            },
            2,
        ),
        ({"x-ratelimit-reset": "1800000042"}, 42),
        ({"x-ratelimit-reset": "1800000042000", "x-ratelimit-remaining": "0"}, 42),
        ({"ratelimit-reset": "12", "ratelimit-remaining": "0"}, 12),
        ({"anthropic-ratelimit-tokens-reset": "2027-01-15T08:00:20Z"}, 20),
        ({"ratelimit": '"burst";r=0;t=30, "day";r=50;t=3600'}, 30),
        ({"ratelimit": '"burst";r=7;t=30'}, None),
        ({"ratelimit": "limit=100, remaining=0, reset=45"}, 45),
        ({"x-retry-after": "12"}, 12),
        ({"retry-after-seconds": "14"}, 14),
        ({"x-ms-retry-after": "5", "x-retry-after-ms": "1500"}, 1.5),
        (
            {"x-ratelimit-reset-requests-day": "3600", "x-ratelimit-remaining-requests-day": "0"},
            3600,
        ),
        ({}, None),
    ],
)
def test_headers_tell_the_wait_under_several_names(headers, seconds):
    assert retry_after_s(headers, NOW_S) == seconds


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "31s"}


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ({"error": {"code": 429, "details": [{"@type": "other"}, RETRY_INFO]}}, 31),
        ([{"error": {"code": 429, "details": [RETRY_INFO]}}], 31),
        ({"error": {"details": [{"retryDelay": {"seconds": "31", "nanos": 0}}]}}, 31),
        ({"error": {"message": "slow down", "retry_after": 3.5}}, 3.5),
        ({"message": "You are being rate limited.", "retry_after": 0.25, "global": False}, 0.25),
        ({"error": {"metadata": {"retry_after_seconds": 7}}}, 7),
        ({"error": {"retryAfterMs": 1500}}, 1.5),
        (
            {"error": {"metadata": {"headers": {"X-RateLimit-Reset": "1800000060000"}}}},
            60,
        ),
        (
            {"error": {"message": "Limit 3, Used 3, Requested 1. Please try again in 20s. Visit"}},
            20,
        ),
        ({"error": "Rate limit reached, try again in 1m2.5s."}, 62.5),
        ({"error": {"message": "Please retry in 12.0s."}}, 12),
        ({"error": {"message": "Please retry after 24 seconds."}}, 24),
        ({"message": "15 per 60s exceeded. Please wait 22 seconds before retrying."}, 22),
        ({"error": {"message": "Try again in about 45 seconds"}}, 45),
        ({"error": {"message": "Limit resets in 3 minutes."}}, 180),
        ({"error": {"message": "Your limit will reset at 2027-01-15 08:03:00"}}, 180),
        ({"error": {"message": "Limit resets at: 2027-01-15 08:01:00 UTC"}}, 60),
        ({"error": {"type": "usage_limit_reached", "resets_in_seconds": 77}}, 77),
        ({"error": {"resets_at": 1800000088, "retry_after": 3}}, 3),
        ({"error": {"retry_after": {"value": 9, "unit": "s"}}}, 9),
        ({"error": {"message": "Wait 3 turns, then try again in 4s."}}, 4),
        ({"error": {"message": "Try again tomorrow."}}, None),
        ({"error": {"retry_after": None}}, None),
        ("text", None),
        (None, None),
    ],
)
def test_a_body_tells_the_wait_where_no_header_does(body, seconds):
    sent = json.dumps(body).encode()
    assert retry_after_s({}, NOW_S, sent) == seconds
    assert retry_after_s({"retry-after": "5"}, NOW_S, sent) == 5


@pytest.mark.parametrize(
    ("headers", "hints"),
    [
        (
            {
                "x-ratelimit-limit-requests": "500",
                "x-ratelimit-remaining-requests": "499",
                "x-ratelimit-reset-requests": "120ms",
                "x-ratelimit-limit-tokens": "30000",
                "x-ratelimit-remaining-tokens": "-3",
                "x-ratelimit-reset-tokens": "2027-01-15T08:01:00Z",
            },
            RateHints(
                limit_requests=500,
                remaining_requests=499,
                reset_requests_s=0.12,
                limit_tokens=30000,
                reset_tokens_s=60,
            ),
        ),
        (
            {
                "anthropic-ratelimit-tokens-limit": "80000",
                "anthropic-ratelimit-tokens-remaining": "79000",
            },
            RateHints(limit_tokens=80000, remaining_tokens=79000),
        ),
        (
            {
                "x-ratelimit-limit": "20",
                "x-ratelimit-remaining": "3",
                "x-ratelimit-reset": "1800000010000",
            },
            RateHints(limit_requests=20, remaining_requests=3, reset_requests_s=10),
        ),
        # Nothing tells whether this is of a second or of a day.
        ({"x-ratelimit-limit": "20", "x-ratelimit-remaining": "3"}, None),
        ({"x-ratelimit-limit-requests": "many"}, None),
        ({}, None),
    ],
)
def test_limits_are_read_under_several_names(headers, hints):
    assert rate_hints(headers, NOW_S) == hints


@pytest.mark.parametrize(
    ("words", "limit"),
    [
        (
            "Request too large for m on tokens per min (TPM): Limit 30000, Requested 45000.",
            (30000, 45000),
        ),
        ("Limit 30,000, Used 14,567, Requested 24,754. Please try again", (30000, 24754)),
        (
            "exceed the limit for your organization (x) of 20,000 input tokens per minute.",
            (20000, None),
        ),
        ("Request body too large for gpt-4o model. Max size: 8000 tokens.", (8000, None)),
        ("Rate limit reached: Limit 3 / min. Please try again in 20s.", None),
        ("Limit , Requested ,", None),
        ("", None),
    ],
)
def test_a_limit_in_the_words_is_read_with_what_was_asked(words, limit):
    assert told_limit(words) == limit


texts = st.one_of(
    st.text(),
    st.floats().map(str),
    st.integers().map(str),
    st.text("0123456789.:smhd-TZ +e", max_size=30),
)
names = st.sampled_from(
    ["retry-after", "retry-after-ms", "x-ratelimit-reset", "x-ratelimit-remaining"]
    + [f"x-ratelimit-{what}-tokens" for what in ("limit", "remaining", "reset")]
)
bodies = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["error", "retry_after", "retryDelay", "seconds", "headers", "message"]
            ),
            inner,
        ),
    ),
    max_leaves=8,
)


@given(headers=st.dictionaries(names, texts), body=bodies, now_s=st.sampled_from([0.0, NOW_S]))
def test_nothing_that_a_server_sends_breaks_the_reading(headers, body, now_s):
    wait_s = retry_after_s(headers, now_s, json.dumps(body).encode())
    assert wait_s is None or 0 <= wait_s <= LONGEST_WAIT_S
    hints = rate_hints(headers, now_s)
    if hints is not None:
        assert hints.limit_tokens >= 0
        assert hints.reset_tokens_s is None or 0 <= hints.reset_tokens_s <= LONGEST_WAIT_S


@given(st.text(), st.integers(), st.integers())
def test_no_words_break_the_reading(words, limit, asked):
    for text in (words, f"{words} Limit {limit}, Requested {asked} {words}"):
        found = told_limit(text)
        assert found is None or found[0] > 0
