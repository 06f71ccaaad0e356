"""Limits are kept, whether they were given or learned; nothing is sent while a group cools."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keys_fixture import DEAD, OK, UNSENT, Asked, answered, key, limited, manager_of, need

from openai_parallel_toolkit.core.clock import FakeClock
from openai_parallel_toolkit.core.records import RateHints
from openai_parallel_toolkit.keys.bucket import TokenBucket


def served(asked):
    return [each for each in asked if each.lease is not None]


def test_requests_per_minute_let_a_minutes_worth_start_and_then_flow_evenly():
    clock = FakeClock()
    manager = manager_of(key("a", rpm=60), clock=clock)
    asked = [Asked(manager) for _ in range(62)]
    assert len(served(asked)) == 60
    assert "limit of requests or tokens per minute" in manager.waiting_on().reason
    clock.advance(1)
    assert asked[60].wait()
    assert asked[61].request.is_waiting
    clock.advance(1)
    assert asked[61].wait()


def test_unused_tokens_go_back():
    manager = manager_of(key("a", tpm=1000))
    lease = manager.lease(need(1000))
    asked = Asked(manager, need(900))
    manager.settle(lease, answered(50, 40))
    assert asked.wait()


def test_a_request_that_never_left_costs_no_tokens():
    manager = manager_of(key("a", tpm=1000))
    lease = manager.lease(need(1000))
    asked = Asked(manager, need(1000))
    manager.settle(lease, UNSENT)
    assert asked.wait()


def test_a_request_larger_than_the_bucket_goes_when_the_bucket_is_full():
    clock = FakeClock()
    manager = manager_of(key("a", tpm=600), clock=clock)
    assert manager.lease(need(6000))
    asked = Asked(manager, need(1))
    clock.advance(540)
    assert asked.request.is_waiting
    clock.advance(1)
    assert asked.wait()


def test_a_big_request_is_not_starved_by_small_ones():
    clock = FakeClock()
    manager = manager_of(key("a", tpm=600), clock=clock)
    manager.lease(need(600))
    big = Asked(manager, need(600))
    small = Asked(manager, need(1))
    clock.advance(30)
    assert small.request.is_waiting
    clock.advance(30)
    assert big.wait()


def test_when_the_big_one_gives_up_the_small_one_goes_at_once():
    clock = FakeClock()
    manager = manager_of(key("a", tpm=600), clock=clock)
    manager.lease(need(600))
    big, small = Asked(manager, need(600)), Asked(manager, need(100))
    clock.advance(15)
    big.request.withdraw(RuntimeError("enough"))
    assert small.wait()
    assert big.times_told == 1


def test_a_limit_cools_the_whole_group_until_retry_after():
    clock = FakeClock()
    manager = manager_of(key("a", group="g"), key("b", group="g"), key("c"), clock=clock)
    lease = manager.lease(need())
    manager.settle(lease, limited(20))
    assert [status.state for status in manager.status()] == ["cooling", "cooling", "alive"]
    assert manager.status()[0].cooling_until_s == clock.now_s() + 20
    assert {manager.lease(need()).key_name for _ in range(5)} == {"c"}
    clock.advance(20)
    assert {manager.lease(need()).key_name for _ in range(2)} == {"b", "c"}


def test_after_cooling_the_key_goes_first_that_rested_longest_over_all_models():
    clock = FakeClock()
    manager = manager_of(key("a", group="g"), key("b", group="g"), clock=clock)
    for lease in [manager.lease(need()) for _ in range(4)]:
        manager.settle(lease, limited(10))
    Asked(manager).request.withdraw(RuntimeError())
    clock.advance(10)
    assert manager.lease(need(model="other")).key_name == "a"
    assert manager.lease(need()).key_name == "b"


def test_the_wait_is_told_in_words():
    clock = FakeClock()
    manager = manager_of(3, clock=clock)
    leases = [manager.lease(need()) for _ in range(3)]
    for lease, outcome in zip(leases, (limited(5), limited(9), DEAD), strict=True):
        manager.settle(lease, outcome)
    asked = Asked(manager)
    wait = manager.waiting_on()
    assert wait.count == 1
    assert wait.until_s == clock.now_s() + 5
    assert wait.reason == (
        "1 of 3 keys are dropped; 2 of 3 keys cool down after a rate limit (soonest: key-1)"
    )
    assert repr(manager) == (
        "<APIKeyManager 3 keys: 0 alive, 2 cooling, 1 dropped | 0 in flight, 1 waiting>"
    )
    clock.advance(5)
    assert asked.wait().key_name == "key-1"


@pytest.mark.parametrize("absurd", [math.nan, -5.0, 0.0, None])
def test_a_retry_after_that_says_nothing_means_backoff_with_jitter(absurd):
    clock = FakeClock()
    manager = manager_of(1, clock=clock)
    for ceiling_s in (1, 2, 4, 8, 16, 32, 60, 60):
        lease = manager.lease(need())
        manager.settle(lease, limited(absurd))
        until_s = manager.status()[0].cooling_until_s
        assert clock.now_s() < until_s <= clock.now_s() + ceiling_s
        clock.advance(ceiling_s)


@pytest.mark.parametrize("seconds", [601.0, 1e9, math.inf])
def test_a_retry_after_is_honoured_for_ten_minutes_at_most(seconds):
    clock = FakeClock()
    manager = manager_of(1, clock=clock)
    manager.settle(manager.lease(need()), limited(seconds))
    assert manager.status()[0].cooling_until_s == clock.now_s() + 600


def test_the_answers_to_one_wave_count_as_one_limit():
    clock = FakeClock()
    manager = manager_of(1, clock=clock)
    for lease in [manager.lease(need()) for _ in range(50)]:
        manager.settle(lease, limited())
    assert manager.status()[0].cooling_until_s <= clock.now_s() + 1


def test_an_answer_ends_the_row_of_limits():
    clock = FakeClock()
    manager = manager_of(1, clock=clock)
    for outcome in (limited(), limited(), limited(), OK, limited()):
        manager.settle(manager.lease(need()), outcome)
        clock.advance(60)
    manager.settle(manager.lease(need()), OK)
    manager.settle(manager.lease(need()), limited())
    assert manager.status()[0].cooling_until_s <= clock.now_s() + 1


def test_after_cooling_half_as_many_are_in_flight_and_answers_widen_that():
    clock = FakeClock()
    manager = manager_of(1, clock=clock)
    leases = [manager.lease(need()) for _ in range(8)]
    for lease in leases:
        manager.settle(lease, limited(10))
    asked = [Asked(manager) for _ in range(20)]
    assert served(asked) == []
    clock.advance(10)
    for each in asked[:4]:
        each.wait()
    assert len(served(asked)) == 4
    assert "fewer at a time" in manager.waiting_on().reason
    for each in asked[:4]:
        manager.settle(each.lease, OK)
    assert len(served(asked)) == 8
    for each in asked[4:8]:
        manager.settle(each.lease, OK)
    assert len(served(asked)) == 13


def test_limits_are_learned_from_the_headers():
    clock = FakeClock()
    manager = manager_of(1, clock=clock)
    hints = RateHints(limit_requests=10, remaining_requests=2, reset_requests_s=16.0)
    manager.settle(manager.lease(need()), answered(1, 1, hints=hints))
    asked = [Asked(manager) for _ in range(4)]
    assert len(served(asked)) == 2
    clock.advance(2)
    assert asked[2].wait()
    assert asked[3].request.is_waiting
    assert Asked(manager, need(model="other")).lease is not None


def test_limits_that_were_given_are_not_overruled_by_headers():
    manager = manager_of(key("a", rpm=1000))
    hints = RateHints(limit_requests=1, remaining_requests=0, reset_requests_s=60.0)
    manager.settle(manager.lease(need()), answered(1, 1, hints=hints))
    assert Asked(manager).lease is not None


def test_max_concurrent_requests_is_kept():
    manager = manager_of(key("a", max_concurrent_requests=2))
    asked = [Asked(manager) for _ in range(4)]
    assert len(served(asked)) == 2
    manager.settle(asked[0].lease, OK)
    assert len(served(asked)) == 3


numbers = st.one_of(st.none(), st.integers(-(10**12), 10**12))
seconds = st.one_of(st.none(), st.floats(), st.floats(0, 1000))


@given(
    st.lists(
        st.builds(
            RateHints,
            limit_requests=numbers,
            remaining_requests=numbers,
            reset_requests_s=seconds,
            limit_tokens=numbers,
            remaining_tokens=numbers,
            reset_tokens_s=seconds,
        ),
        max_size=5,
    )
)
def test_no_headers_can_upset_the_manager(all_hints):
    """Whatever numbers a server sends, a waiter has a finite time or is served."""
    clock = FakeClock()
    manager = manager_of(1, clock=clock)
    for hints in all_hints:
        asked = Asked(manager)
        if asked.lease is None:
            break
        manager.settle(asked.lease, answered(1, 1, hints=hints))
    wait = manager.waiting_on()
    assert wait is None or math.isfinite(wait.until_s)
    manager.close()


@given(
    per_minute=st.integers(1, 10**6),
    steps=st.lists(st.tuples(st.floats(0, 100), st.integers(1, 5000)), max_size=40),
)
def test_a_bucket_never_lets_more_through_than_it_says(per_minute, steps):
    """In any span of time: at most the capacity and the refill, beside one oversized request."""
    bucket, now_s, taken = TokenBucket(per_minute, 0.0), 0.0, []
    for pause_s, amount in steps:
        now_s = max(now_s + pause_s, bucket.ready_s(amount, now_s + pause_s))
        assert bucket.ready_s(amount, now_s) == pytest.approx(now_s)
        bucket.take(amount, now_s)
        taken.append((now_s, min(amount, per_minute)))
    for first in range(len(taken)):
        total = 0.0
        for at_s, amount in taken[first:]:
            total += amount
            span_s = at_s - taken[first][0]
            assert total <= (per_minute + span_s * per_minute / 60) * (1 + 1e-5)
