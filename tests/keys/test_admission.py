"""Limits that nobody told are found: what a provider allows is used, and hardly more is asked."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limiting_provider import FixedWindow, Provider, Refilling, run_calls

from openai_parallel_toolkit.keys.told_limits import ToldLimit

KEYS = 4
#: More calls than are made in the time given.
ENOUGH = 100_000


@pytest.mark.parametrize(
    ("limit", "told", "for_s", "least"),
    [
        (lambda: Refilling(1500, burst=25), "exact", 60, 0.98),
        (lambda: Refilling(1500, burst=25), "seconds", 60, 0.98),
        (lambda: Refilling(1500, burst=250), "exact", 40, 0.98),
        (lambda: Refilling(250, period_s=10), "exact", 40, 0.98),
        (lambda: Refilling(250, period_s=10), "seconds", 40, 0.95),
        (lambda: FixedWindow(250, period_s=10, phase_s=3), "exact", 56, 0.98),
        (lambda: FixedWindow(250, period_s=10, phase_s=3), "seconds", 56, 0.98),
        (lambda: FixedWindow(600, period_s=60, phase_s=50), "exact", 69, 0.98),
    ],
)
def test_what_headers_tell_is_used_whatever_the_shape_of_the_limit(
    limit: Callable[[], Refilling | FixedWindow], told: str, for_s: float, least: float
) -> None:
    providers = [Provider(requests=limit(), headers=told) for _ in range(KEYS)]
    ran = run_calls(providers, ENOUGH, at_once=100, until_s=for_s)
    assert ran.answered >= least * KEYS * limit().allows(for_s)
    assert ran.share_limited <= 0.005


def test_tokens_may_be_what_binds() -> None:
    def tokens() -> Refilling:
        return Refilling(60_000, burst=10_000)

    providers = [Provider(requests=Refilling(5000), tokens=tokens()) for _ in range(KEYS)]
    ran = run_calls(
        providers,
        ENOUGH,
        at_once=100,
        tokens=lambda random: random.randint(50, 150),
        until_s=60,
    )
    assert ran.answered * 100 >= 0.98 * KEYS * tokens().allows(60)
    assert ran.share_limited <= 0.005


@pytest.mark.parametrize("seed", range(3))
def test_a_limit_that_is_halved_under_way_is_followed(seed: int) -> None:
    providers = [Provider(requests=Refilling(1500, burst=50)) for _ in range(KEYS)]

    def halve() -> None:
        for provider in providers:
            assert provider.requests is not None
            provider.requests.limit //= 2

    ran = run_calls(providers, 4000, at_once=100, events={20.0: halve}, seed=seed)
    assert sum(ran.pace[5:19]) >= 0.98 * 14 * 100
    assert sum(ran.pace[25:45]) >= 0.98 * 20 * 50
    assert ran.share_limited <= 0.005


def test_dead_keys_are_hit_once_at_most_by_what_was_in_flight_and_slow_down_nobody() -> None:
    def limit() -> Refilling:
        return Refilling(1500, burst=25)

    alive = [Provider(requests=limit()) for _ in range(KEYS)]
    dead = [Provider(refuses=code) for code in ("insufficient_quota", "invalid_api_key")]
    ran = run_calls([dead[0], *alive, dead[1]], ENOUGH, at_once=60, until_s=30)
    assert ran.answered >= 0.97 * KEYS * limit().allows(30)
    assert ran.share_limited <= 0.005
    assert all(one.refused <= 60 / (KEYS + 2) + 1 for one in dead)


@pytest.mark.parametrize("retry_after", ["seconds", "exact", ""])
@pytest.mark.parametrize("burst", [25, 250])
def test_without_headers_the_pace_is_what_came_through_between_two_limits(
    burst: int, retry_after: str
) -> None:
    providers = [
        Provider(requests=Refilling(1500, burst=burst), headers="", retry_after=retry_after)
        for _ in range(KEYS)
    ]
    ran = run_calls(providers, 9000, at_once=100)
    assert sum(ran.pace[30:80]) >= 0.95 * 50 * 100
    assert ran.share_limited <= 0.015


@pytest.mark.parametrize("headers", ["exact", "seconds"])
@pytest.mark.parametrize(
    "limit",
    [
        lambda: FixedWindow(60, period_s=1),
        lambda: Refilling(60, period_s=1),
        lambda: Refilling(1500, burst=250),
    ],
)
def test_what_refusals_alone_tell_does_not_slow_down_for_good(
    limit: Callable[[], Refilling | FixedWindow], headers: str
) -> None:
    providers = [
        Provider(requests=limit(), headers=headers, answers_tell=False) for _ in range(KEYS)
    ]
    ran = run_calls(providers, ENOUGH, at_once=100, until_s=40)
    assert ran.answered >= 0.7 * KEYS * limit().allows(40)
    assert ran.share_limited <= 0.02


@given(
    replies=st.lists(
        st.tuples(
            st.integers(1, 10**6),
            st.none() | st.integers(-10, 10**7),
            st.none() | st.floats(),
            st.floats(0, 100),
        ),
        max_size=30,
    ),
    amount=st.integers(1, 10**7),
)
def test_whatever_headers_say_there_is_a_time_to_send(
    replies: list[tuple[int, int | None, float | None, float]], amount: int
) -> None:
    now_s, limit = 1000.0, ToldLimit(10, 1000.0)
    for told, remaining, reset_s, pause_s in replies:
        now_s += pause_s
        limit.learn(told, remaining, reset_s, now_s)
        limit.take(1, now_s)
        ready_s = limit.ready_s(amount, now_s)
        assert now_s <= ready_s
        assert not math.isnan(ready_s)
        assert limit.level(now_s) <= limit.capacity <= told


# -- servers that refuse what they cannot work on ------------------------------------------------


def slow(random: Random) -> float:
    return random.uniform(0.2, 0.4)


@pytest.mark.parametrize(("capacity", "at_once"), [(64, 256), (64, 70), (16, 20), (8, 256)])
def test_of_an_overloaded_server_all_is_used_and_hardly_more_is_asked(
    capacity: int, at_once: int
) -> None:
    fixed = Provider(latency_s=slow, capacity=capacity)
    best = run_calls([fixed], 60 * capacity, at_once=capacity)
    assert not fixed.overloaded
    found = Provider(latency_s=slow, capacity=capacity)
    ran = run_calls([found], 60 * capacity, at_once=at_once)
    assert ran.took_s <= 1.05 * best.took_s
    assert found.overloaded <= at_once - capacity + 0.03 * found.answered


@pytest.mark.parametrize(("flaky", "at_once"), [(0.02, 100), (0.1, 100), (0.3, 100), (0.05, 20)])
def test_a_server_that_refuses_some_whatever_their_number_is_used_as_fully_as_before(
    flaky: float, at_once: int
) -> None:
    steady = run_calls([Provider(latency_s=slow)], 5000, at_once=at_once)
    provider = Provider(latency_s=slow, flaky=flaky)
    ran = run_calls([provider], 5000, at_once=at_once)
    assert ran.took_s <= 1.06 * steady.took_s


def test_a_server_that_grows_is_followed() -> None:
    provider = Provider(latency_s=slow, capacity=30)

    def grow() -> None:
        provider.capacity = 120

    ran = run_calls([provider], 12_000, at_once=200, events={10.0: grow}, until_s=40)
    assert sum(ran.pace[5:10]) >= 0.9 * 5 * 100
    assert sum(ran.pace[25:35]) >= 0.9 * 10 * 400
    assert provider.overloaded <= 0.05 * provider.answered
