"""What a limit means for the one request that met it: wait, ask elsewhere, or be refused."""

import pytest

from openai_parallel_toolkit.calls.limits import (
    LONGEST_LIMITED_S,
    MOST_LIMITS,
    LimitHistory,
    with_told_limit,
)
from openai_parallel_toolkit.core.records import Need, Outcome, OutcomeKind, RawReply, Standing
from openai_parallel_toolkit.transport import SendFault

NEED = Need(model="m", tokens=12_000)
TOO_LARGE = "Request too large for m on tokens per min (TPM): Limit 10000, Requested 12100."
REACHED = "Rate limit reached for m: Limit 30000, Used 14567, Requested 24754. Please try again."
ANTHROPIC = (
    "This request would exceed the limit for your organization of 20,000 input tokens per minute"
)


def limit(message="", **more):
    return Outcome(kind=OutcomeKind.BUSY, status=429, is_limit=True, message=message, **more)


def reply(status=429, body=b"", **headers):
    return RawReply(status=status, headers=headers, body=body)


@pytest.mark.parametrize(
    ("message", "is_too_large", "token_limit"),
    [
        (TOO_LARGE, True, 10_000),
        (REACHED, False, 30_000),
        (ANTHROPIC, None, 20_000),
        ("slow down", None, None),
    ],
)
def test_a_refusals_words_tell_a_limit_that_is_reached_from_one_that_is_too_small(
    message, is_too_large, token_limit
):
    outcome = with_told_limit(limit(message), reply())
    assert (outcome.is_too_large, outcome.token_limit) == (is_too_large, token_limit)
    assert outcome.is_limit


@pytest.mark.parametrize(
    ("code", "message", "is_limit"),
    [
        ("rate_limit_exceeded", TOO_LARGE, True),
        ("tokens_limit_reached", "Request body too large for gpt-4o. Max size: 8000 tokens.", True),
        ("tokens", "too large", True),
        ("request_too_large", "Request exceeds the maximum size", False),
        ("http_413", "HTTP status 413", False),
    ],
)
def test_a_413_for_a_limit_of_tokens_is_asked_of_other_groups_and_one_for_bytes_is_not(
    code, message, is_limit
):
    refused = Outcome(kind=OutcomeKind.REJECTED, status=413, code=code, message=message)
    outcome = with_told_limit(refused, reply(413))
    assert outcome.is_limit == bool(outcome.is_too_large) == is_limit
    assert outcome.kind is (OutcomeKind.BUSY if is_limit else OutcomeKind.REJECTED)


@pytest.mark.parametrize(
    ("body", "headers", "is_of_all"),
    [
        (b'{"error":{"code":"AccountRateLimitExceeded"}}', {}, True),
        (b'{"error":{"code":"ModelAccountTpmRateLimitExceeded"}}', {}, False),
        (b'{"error":{"code":"rate_limit_exceeded","type":"tokens"}}', {}, False),
        (b'[{"error":{"details":[{"quotaId":"RequestsPerDayPerProject"}]}}]', {}, True),
        (b'[{"error":{"details":[{"quotaId":"RequestsPerProjectPerModel"}]}}]', {}, False),
        (b"", {"x-ratelimit-type": "UserConcurrentRequests"}, True),
        (b"", {"x-ratelimit-type": "UserByModelByMinute"}, False),
        (b"<html>", {}, False),
    ],
)
def test_a_limit_is_of_one_model_unless_its_codes_say_more(body, headers, is_of_all):
    assert with_told_limit(limit(), reply(body=body, **headers)).is_group_limit == is_of_all


def test_what_is_no_limit_stays_as_it_is():
    answer = Outcome(kind=OutcomeKind.OK, status=200, message=TOO_LARGE)
    assert with_told_limit(answer, reply(200)) is answer
    assert with_told_limit(answer, SendFault("unknown", "read", "reset")) is answer


def test_a_group_whose_limit_is_too_small_is_noted_with_its_words():
    history, need = LimitHistory(), NEED
    for group in ("a", "b"):
        standing = Standing(answers=0, limits=0, too_large_for=group)
        need = history.next_need(need, limit(f"words of {group}"), standing, 0.0, 0.5)
    assert need.too_large_for == {"a": "words of a", "b": "words of b"}
    assert need.not_before_s == 0


class Limits:
    """One request that is limited at each attempt, while others fare as they are told."""

    def __init__(self, *, answers, limits, every_s=8.0):
        self.history, self.need, self.now_s = LimitHistory(), NEED, 1000.0
        self.answers, self.limits, self.every_s = answers, limits, every_s
        self.total_answers = self.total_limits = self.times = 0

    def again(self, retry_after_s=None):
        self.times += 1
        self.total_limits += self.need.not_before_s == 0  # as the keys count
        standing = Standing(answers=self.total_answers, limits=self.total_limits)
        outcome = limit(retry_after_s=retry_after_s)
        need = self.history.next_need(self.need, outcome, standing, self.now_s, 1.0)
        self.total_answers += self.answers
        self.total_limits += self.limits
        self.now_s = max(self.now_s + self.every_s, need.not_before_s if need else 0)
        self.need = need or self.need
        return need


@pytest.mark.parametrize("answers", [1, 3, 40])
def test_a_request_that_is_limited_for_a_minute_while_others_pass_is_refused(answers):
    story = Limits(answers=answers, limits=0)
    assert story.again() == NEED
    while (need := story.again()) is not None:
        assert need.not_before_s > 1000
    assert story.times >= MOST_LIMITS
    assert LONGEST_LIMITED_S <= story.now_s - 1000 < 4 * LONGEST_LIMITED_S


@pytest.mark.parametrize(("answers", "limits"), [(0, 0), (0, 9), (2, 1), (10, 5)])
def test_a_request_that_is_limited_as_others_are_waits_for_ever(answers, limits):
    story = Limits(answers=answers, limits=limits)
    for _ in range(200):
        assert story.again() == NEED


def test_others_that_were_all_done_within_the_first_second_are_evidence_enough():
    story = Limits(answers=40, limits=0)
    story.again()
    story.answers = 0
    while story.again() is not None:
        assert story.times < 20
    assert story.now_s - 1000 < 4 * LONGEST_LIMITED_S


def test_it_waits_as_long_as_it_is_told_and_at_most_ten_minutes():
    story = Limits(answers=9, limits=0)
    story.again()
    assert story.again(retry_after_s=45).not_before_s == 1008 + 45
    assert story.again(retry_after_s=86_400).not_before_s == 1053 + 600
