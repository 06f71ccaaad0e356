"""Limits and quotas of the simulator's keys, under a clock that stands still."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sim_wire import ask

from openai_parallel_toolkit.simulator import SimKey, Simulator
from openai_parallel_toolkit.simulator.limits import Limits, duration


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


def statuses(sim, count, key="good", **fields):
    return [ask(sim, key=key, **fields).status for _ in range(count)]


def test_requests_a_minute_start_full_and_refill_evenly(clock):
    with Simulator([SimKey("good", rpm=2)], clock=clock) as sim:
        assert statuses(sim, 3) == [200, 200, 429]
        clock.now_s += 30
        assert statuses(sim, 2) == [200, 429]


def test_burst_bounds_what_may_start_at_once(clock):
    with Simulator([SimKey("good", rpm=60, burst=1)], clock=clock) as sim:
        assert statuses(sim, 2) == [200, 429]
        clock.now_s += 1
        assert statuses(sim, 2) == [200, 429]


def test_a_limited_reply_says_how_long_to_wait(clock):
    with Simulator([SimKey("good", rpm=6)], clock=clock) as sim:
        statuses(sim, 6)
        reply = ask(sim)
    assert reply.code == "rate_limit_exceeded"
    assert reply.json["error"]["type"] == "requests"
    assert (
        "Limit 6, Used 6, Requested 1. Please try again in 10s." in reply.json["error"]["message"]
    )
    assert (reply.headers["retry-after"], reply.headers["retry-after-ms"]) == ("10", "10000")


def test_tokens_a_minute_count_the_prompt_and_the_longest_reply(clock):
    with Simulator([SimKey("good", tpm=100)], clock=clock) as sim:
        first = ask(sim, "x" * 40, max_tokens=34)
        assert first.headers["x-ratelimit-remaining-tokens"] == "50"
        second = ask(sim, "x" * 40, max_tokens=35)
    assert (second.status, second.json["error"]["type"]) == (429, "tokens")


def test_a_request_above_the_whole_limit_is_told_so(clock):
    with Simulator([SimKey("good", tpm=100)], clock=clock) as sim:
        reply = ask(sim, max_tokens=500)
    assert reply.json["error"]["message"].startswith("Request too large")
    assert "retry-after" not in reply.headers


def test_replies_carry_the_limits_of_a_limited_key_alone(clock):
    with Simulator([SimKey("good", rpm=60, tpm=6000), SimKey("free")], clock=clock) as sim:
        headers = ask(sim).headers
        assert headers["x-ratelimit-limit-requests"] == "60"
        assert headers["x-ratelimit-remaining-requests"] == "59"
        assert headers["x-ratelimit-reset-requests"] == "1s"
        assert headers["x-ratelimit-limit-tokens"] == "6000"
        assert not [name for name in ask(sim, key="free").headers if "ratelimit" in name]


def test_keys_of_a_group_share_their_limits(clock):
    keys = [SimKey("good", group="us", rpm=1), SimKey("two", group="us", rpm=1)]
    with Simulator([*keys, SimKey("us", rpm=1)], clock=clock) as sim:
        assert [ask(sim, key=key).status for key in ("good", "two", "us")] == [200, 429, 200]


def test_a_quota_is_spent_by_billed_requests(clock):
    keys = [SimKey("good", quota=1), SimKey("empty", quota="none"), SimKey("t", quota_tokens=1)]
    with Simulator(keys, clock=clock) as sim:
        assert statuses(sim, 2) == [200, 429]
        assert statuses(sim, 2, "t") == [200, 429]
        reply = ask(sim, key="empty")
        assert sim.ledger.billed("empty") == 0
    assert (reply.status, reply.code) == (429, "insufficient_quota")


def test_dead_keys_are_refused(clock):
    keys = [SimKey("off", deactivated=True), SimKey("unpaid", unpaid=True)]
    with Simulator(keys, clock=clock) as sim:
        assert ask(sim, key="off").code == "account_deactivated"
        assert ask(sim, key="unpaid").status == 402


@pytest.mark.parametrize(
    "keys",
    [
        [SimKey("a"), SimKey("a", value="x")],
        [SimKey("a", value="x"), SimKey("b", value="x")],
        [SimKey("a", group="g", rpm=1), SimKey("b", group="g", rpm=2)],
    ],
)
def test_keys_that_contradict_each_other_are_refused(keys):
    with pytest.raises(ValueError):
        Simulator(keys)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"), (0.012, "12ms"), (1, "1s"), (1.5, "1.5s"), (0.9999, "1s"),
        (360, "6m0s"), (59.999, "59.999s"), (3600, "1h0m0s"),
    ],
)  # fmt: skip
def test_durations_are_written_as_openai_does(seconds, text):
    assert duration(seconds) == text


@given(st.lists(st.tuples(st.floats(0, 60), st.integers(1, 80)), max_size=40))
def test_no_minute_serves_more_than_a_burst_and_a_minutes_worth(steps):
    limits = Limits(rpm=10, tpm=100, burst=None, now_s=0)
    now_s, served = 0.0, []
    for wait_s, tokens in steps:
        now_s += wait_s
        if limits.take(tokens, now_s) is None:
            served.append((now_s, tokens))
    for start_s, _ in served:
        minute = [tokens for at_s, tokens in served if start_s <= at_s <= start_s + 60]
        assert len(minute) <= 20
        assert sum(minute) <= 200.001


@given(st.integers(1, 100))
def test_waiting_as_long_as_told_is_enough(tokens):
    limits = Limits(rpm=None, tpm=100, burst=None, now_s=0)
    assert limits.take(100, 0.0) is None
    shortage = limits.take(tokens, 0.0)
    assert limits.take(tokens, shortage.wait_s) is None
