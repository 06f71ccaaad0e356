"""Limits are kept, whether they were given or learned; nothing is sent while a group cools."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keys_fixture import DEAD, OK, UNSENT, Asked, answered, key, limited, manager_of, need

from openai_parallel_toolkit.calls.admission import Admission
from openai_parallel_toolkit.calls.attempts import End, Policy
from openai_parallel_toolkit.calls.run_context import RunContext, SubmittedCall
from openai_parallel_toolkit.core.clock import FakeClock
from openai_parallel_toolkit.core.errors import NoUsableKey, RequestRejected
from openai_parallel_toolkit.core.records import Outcome, OutcomeKind, RateHints
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


def test_a_request_that_may_be_larger_than_the_bucket_goes_when_the_bucket_is_full():
    """Where its body sets no limit to the reply, most of its tokens are only assumed."""
    clock = FakeClock()
    manager = manager_of(key("a", tpm=600), clock=clock)
    assert manager.lease(need(6000, assumed_tokens=5900))
    asked = Asked(manager, need(1))
    clock.advance(540)
    assert asked.request.is_waiting
    clock.advance(1)
    assert asked.wait()


def test_a_request_larger_than_the_tpm_of_every_key_is_refused_and_holds_up_nobody():
    manager = manager_of(key("a", tpm=600), key("b", tpm=500))
    with pytest.raises(RequestRejected, match=r"6,000 tokens.*split it.*tpm"):
        manager.lease(need(6000))
    lease = manager.lease(need(550))
    assert lease.key_name == "a"
    waiting = Asked(manager, need(550))
    assert Asked(manager, need(6000)).request.error is not None
    manager.settle(lease, answered(10, 10))
    assert waiting.wait()


def test_a_request_too_large_for_one_key_goes_to_another():
    manager = manager_of(key("small", tpm=600), key("large"))
    assert {manager.lease(need(6000)).key_name for _ in range(3)} == {"large"}
    assert manager.lease(need()).key_name == "small"


def test_a_big_request_is_passed_by_small_ones_for_a_while_and_then_gets_its_turn():
    clock = FakeClock()
    manager = manager_of(key("a", tpm=600), clock=clock)
    manager.lease(need(600))
    big = Asked(manager, need(600))
    small = [Asked(manager, need(10)) for _ in range(20)]
    for _ in range(9):
        clock.advance(1)
    for each in small[:9]:
        assert each.wait()
    assert big.request.is_waiting
    late = Asked(manager, need(10))
    for _ in range(59):
        clock.advance(1)
    assert late.request.is_waiting
    assert small[-1].request.is_waiting
    clock.advance(1)
    assert big.wait()
    clock.advance(60)
    assert late.wait()


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


def test_a_limit_of_one_model_does_not_stop_another():
    clock = FakeClock()
    manager = manager_of(key("a", group="g"), key("b", group="g"), clock=clock)
    manager.settle(manager.lease(need(model="x")), limited(20))
    assert [status.state for status in manager.status()] == ["cooling", "cooling"]
    asked = [Asked(manager, need(model="y")) for _ in range(4)]
    assert len(served(asked)) == 4
    assert [status.state for status in manager.status()] == ["alive", "alive"]
    waiting = Asked(manager, need(model="x"))
    assert manager.waiting_on().until_s == clock.now_s() + 20
    clock.advance(20)
    assert waiting.wait()


def test_a_limit_that_is_of_the_whole_group_stops_every_model():
    clock = FakeClock()
    manager = manager_of(key("a", group="g"), key("b", group="g"), clock=clock)
    manager.settle(manager.lease(need(model="x")), limited(20, is_group_limit=True))
    waiting = [Asked(manager, need(model=model)) for model in ("x", "y")]
    assert served(waiting) == []
    clock.advance(20)
    assert [each.wait().need.model for each in waiting[:1]] == ["x"]


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize(
    "outcome",
    [
        limited(0.001),
        Outcome(kind=OutcomeKind.REJECTED, status=400),
        Outcome(kind=OutcomeKind.BUSY, status=503),
        UNSENT,
    ],
)
def test_a_refused_request_gives_its_tokens_back(outcome, learned):
    clock = FakeClock()
    manager = manager_of(key("a", **({} if learned else {"tpm": 1000})), clock=clock)
    if learned:
        hints = RateHints(limit_tokens=1000, remaining_tokens=1000)
        manager.settle(manager.lease(need(1)), answered(1, 0, hints=hints))
    manager.settle(manager.lease(need(900)), outcome)
    clock.advance(0.01)
    assert Asked(manager, need(900)).lease is not None


def test_an_answer_that_was_lost_may_be_billed_and_gives_nothing_back():
    manager = manager_of(key("a", tpm=1000))
    manager.settle(manager.lease(need(900)), Outcome(kind=OutcomeKind.UNKNOWN))
    assert Asked(manager, need(900)).request.is_waiting


def too_large(message="Limit 10000, Requested 12100", **more):
    return limited(message=message, is_too_large=True, **more)


def test_what_is_too_large_for_a_limit_cools_nobody_down_and_is_asked_of_another_group():
    clock = FakeClock()
    manager = manager_of(key("a", group="g"), key("b", group="g"), key("c"), clock=clock)
    what, tried = need(12100), []
    for _ in range(2):
        lease = manager.lease(what)
        tried.append(lease.key_name)
        standing = manager.settle(lease, too_large()).standing
        words = {**what.too_large_for, standing.too_large_for: "Limit 10000, Requested 12100"}
        what = need(12100, too_large_for=words)
    assert tried == ["a", "c"]
    assert {status.state for status in manager.status()} == {"alive"}
    assert len(served([Asked(manager, need(12100)) for _ in range(9)])) == 9
    with pytest.raises(RequestRejected, match=r"Limit 10000, Requested 12100; split it"):
        manager.lease(what)


@pytest.mark.parametrize(
    ("outcome", "is_exceeded"),
    [
        (limited(hints=RateHints(limit_tokens=10_000)), True),
        (limited(token_limit=10_000), True),
        (limited(token_limit=20_000), False),
        (limited(hints=RateHints(limit_tokens=10_000), is_too_large=False), False),
        (limited(), False),
    ],
)
def test_a_limit_that_is_smaller_than_the_request_is_no_limit_to_wait_for(outcome, is_exceeded):
    manager = manager_of(1)
    standing = manager.settle(manager.lease(need(12_000)), outcome).standing
    assert bool(standing.too_large_for) == is_exceeded
    assert (manager.status()[0].state == "alive") == is_exceeded


def test_what_is_known_to_be_too_large_does_not_wait_for_a_full_bucket():
    manager = manager_of(1)
    hints = RateHints(limit_tokens=1000, remaining_tokens=500, reset_tokens_s=30.0)
    manager.settle(manager.lease(need(1)), answered(1, 0, hints=hints))
    assert Asked(manager, need(900)).request.is_waiting
    assert Asked(manager, need(12_000)).lease is not None


def test_a_request_that_alone_is_limited_waits_by_itself():
    clock = FakeClock()
    manager = manager_of(1, clock=clock)
    alone = Asked(manager, need(not_before_s=clock.now_s() + 30))
    assert manager.waiting_on().until_s == clock.now_s() + 30
    assert "limit this request again and again while others pass" in manager.waiting_on().reason
    for _ in range(3):
        manager.settle(manager.lease(need()), OK)
    clock.advance(30)
    before = manager.settle(manager.lease(need()), limited(0.001)).standing
    clock.advance(1)
    standing = manager.settle(alone.wait(), limited(500)).standing
    assert (standing.answers, standing.limits) == (before.answers, before.limits) == (3, 1)
    assert manager.status()[0].state == "alive"


def test_no_reset_that_a_server_tells_stops_a_key_longer_than_ten_minutes_without_a_trial():
    clock = FakeClock()
    manager = manager_of(1, clock=clock)
    hints = RateHints(limit_requests=1, remaining_requests=0, reset_requests_s=86_400.0)
    manager.settle(manager.lease(need()), answered(1, 1, hints=hints))
    asked = [Asked(manager), Asked(manager)]
    clock.advance(599)
    assert served(asked) == []
    clock.advance(1)
    assert asked[0].wait()
    assert asked[1].request.is_waiting


def test_after_a_pause_that_was_cut_to_ten_minutes_one_request_tries():
    clock = FakeClock()
    manager = manager_of(1, clock=clock)
    for lease in [manager.lease(need()) for _ in range(8)]:
        manager.settle(lease, limited(86_400.0))
    asked = [Asked(manager) for _ in range(4)]
    clock.advance(600)
    asked[0].wait()
    assert len(served(asked)) == 1
    manager.settle(asked[0].lease, OK)
    assert len(served(asked)) == 3


def limits_for(manager, clock, seconds, model="m", outcome=None):
    """The last lease and standing, after nothing but limits for so long."""
    until_s = clock.now_s() + seconds
    while True:
        lease = manager.lease(need(model=model))
        standing = manager.settle(lease, outcome or limited()).standing
        if clock.now_s() >= until_s:
            return lease, standing
        clock.advance(60)


def test_a_key_that_answers_nothing_but_limits_is_given_up_with_its_group():
    clock = FakeClock()
    manager = manager_of(key("a", group="g"), key("b", group="g"), clock=clock)
    lease, standing = limits_for(manager, clock, 900)
    assert standing.limited_for_s == 900
    manager.exhaust(lease, "answered nothing but limits: slow down")
    assert manager.dropped() == dict.fromkeys("ab", "answered nothing but limits: slow down")
    with pytest.raises(NoUsableKey, match="nothing but limits"):
        manager.lease(need())


def test_a_call_gives_up_a_key_after_the_patience_of_its_policy():
    clock = FakeClock()
    manager = manager_of(1, clock=clock)
    policy, admission = Policy(limit_patience_s=300), Admission(manager, None)
    context = RunContext(prices=manager.prices, policy=policy)
    call, began_s = SubmittedCall(request=None, id=None, context=context), clock.now_s()
    while manager.has_usable():
        end = End(manager.lease(need()), 1, limited(message="slow down"))
        admission.settle(end, call)
        clock.advance(60)
    assert clock.now_s() - began_s >= 300
    assert manager.dropped() == {"key-1": "answered nothing but limits for 540 s: slow down"}


def test_a_key_that_tells_how_long_is_not_given_up():
    clock = FakeClock()
    manager = manager_of(1, clock=clock)
    assert limits_for(manager, clock, 3600, outcome=limited(60))[1].limited_for_s == 0


def test_few_limits_with_long_pauses_between_them_tell_nothing():
    clock = FakeClock()
    manager = manager_of(1, clock=clock)
    manager.settle(manager.lease(need()), limited())
    clock.advance(3600)
    assert manager.settle(manager.lease(need()), limited()).standing.limited_for_s == 0


def test_a_key_that_answers_for_another_model_is_given_up_for_the_limited_one_alone():
    clock = FakeClock()
    manager = manager_of(1, clock=clock)
    manager.settle(manager.lease(need(model="other")), OK)
    lease, _ = limits_for(manager, clock, 900)
    manager.exhaust(lease, "nothing but limits")
    assert manager.dropped() == {}
    with pytest.raises(NoUsableKey) as caught:
        manager.lease(need())
    assert caught.value.reasons == {"key-1": "nothing but limits"}
    assert manager.lease(need(model="other"))


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
        "2 of 3 keys cool down after a rate limit (soonest: key-1); 1 of 3 keys are dropped"
    )
    assert repr(manager) == (
        "<APIKeyManager 3 keys: 0 alive, 2 cooling, 1 dropped | 0 in flight, 1 waiting>"
    )
    clock.advance(5)
    assert asked.wait().key_name == "key-1"


def test_the_wait_is_told_in_the_provider_s_words():
    manager = manager_of(1)
    manager.settle(manager.lease(need()), limited(5, message="Rate limit reached for m"))
    Asked(manager)
    assert manager.waiting_on().reason == (
        '1 of 1 keys cool down after a rate limit (soonest: key-1): "Rate limit reached for m"'
    )


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
    clock.advance(6)
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
