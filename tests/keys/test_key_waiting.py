"""Who waits is served in turn, in threads and in event loops, and nothing leaks."""

import threading
import time

import pytest
from keys_fixture import DEAD, OK, UNSENT, Asked, key, limited, manager_of, need, timers

from openai_parallel_toolkit.core.clock import FakeClock
from openai_parallel_toolkit.core.errors import LeaseTimeout, NoUsableKey


def narrow(clock=None):
    return manager_of(key("a", max_concurrent_requests=1), clock=clock)


def in_threads(*jobs):
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    return threads


def until(is_true):
    limit_s = time.monotonic() + 40
    while time.monotonic() < limit_s:
        if is_true():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it never came true")


def test_first_come_first_served():
    manager = narrow()
    lease = manager.lease(need())
    asked = [Asked(manager) for _ in range(5)]
    for each in asked:
        assert each.request.is_waiting
        manager.settle(lease, OK)
        lease = each.wait()
    assert [each.times_told for each in asked] == [1] * 5


def test_across_models_too_the_one_that_has_waited_longest_goes_first():
    manager = narrow()
    lease = manager.lease(need())
    first, second = (Asked(manager, need(model=model)) for model in ("x", "y"))
    manager.settle(lease, OK)
    assert first.wait()
    assert second.request.is_waiting


def test_a_blocking_lease_wakes_when_a_key_comes_back():
    manager = narrow()
    lease = manager.lease(need())
    got = []
    [thread] = in_threads(lambda: got.append(manager.lease(need())))
    until(lambda: manager.waiting_on() is not None)
    assert manager.waiting_on().reason == "1 of 1 keys have as many requests in flight as they may"
    assert manager.waiting_on().until_s is None
    manager.settle(lease, OK)
    thread.join(40)
    assert got[0].key_name == "a"


def test_a_drop_while_leased_wakes_the_blocked_thread_with_the_reason():
    manager = narrow()
    lease = manager.lease(need())
    caught = []

    def ask():
        with pytest.raises(NoUsableKey) as error:
            manager.lease(need())
        caught.append(error.value.reasons)

    [thread] = in_threads(ask)
    until(lambda: manager.waiting_on() is not None)
    manager.settle(lease, DEAD)
    thread.join(40)
    assert caught == [{"a": "401 invalid_api_key: no such key"}]


def test_a_timeout_is_told_by_the_clock():
    clock = FakeClock()
    manager = narrow(clock)
    manager.lease(need())
    caught = []

    def ask():
        with pytest.raises(LeaseTimeout) as error:
            manager.lease(need(), timeout_s=5)
        caught.append(error)

    [thread] = in_threads(ask)
    until(lambda: manager.counts().waiting == 1)
    behind = Asked(manager)
    clock.advance(4.9)
    assert manager.counts().waiting == 2
    clock.advance(0.1)
    thread.join(40)
    assert caught
    assert behind.request.is_waiting


def test_after_a_timeout_those_behind_are_served_at_once():
    clock = FakeClock()
    manager = manager_of(key("a", tpm=600), clock=clock)
    manager.lease(need(600))
    caught = []

    def ask_for_much():
        with pytest.raises(LeaseTimeout) as error:
            manager.lease(need(600), timeout_s=5)
        caught.append(error)

    [thread] = in_threads(ask_for_much)
    until(lambda: manager.counts().waiting == 1)
    behind = Asked(manager, need(50))
    clock.advance(5)
    assert behind.wait()
    thread.join(40)
    assert caught


def test_a_withdrawn_request_is_told_and_leaves_the_queue():
    manager = narrow()
    lease = manager.lease(need())
    first, second = Asked(manager), Asked(manager)
    first.request.withdraw(RuntimeError("enough"))
    first.request.withdraw(RuntimeError("again"))
    assert first.times_told == 1
    with pytest.raises(RuntimeError, match="enough"):
        first.wait()
    manager.settle(lease, OK)
    assert second.wait()


def test_withdrawing_a_served_request_gives_the_lease_back():
    manager = narrow()
    asked = Asked(manager)
    behind = Asked(manager)
    asked.request.withdraw(RuntimeError())
    assert asked.lease is None
    assert behind.wait()
    assert manager.counts().in_flight == 1


def test_the_timer_lives_only_while_somebody_waits_for_a_time():
    clock = FakeClock()
    manager = manager_of(1, clock=clock)
    manager.settle(manager.lease(need()), limited(5))
    assert timers() == []
    asked = Asked(manager)
    assert len(timers()) == 1
    clock.advance(5)
    asked.wait()
    until(lambda: not timers())
    manager.settle(asked.lease, limited(5))
    other = Asked(manager)
    assert len(timers()) == 1
    other.request.withdraw(RuntimeError())
    until(lambda: not timers())


def test_close_ends_the_timer():
    manager = manager_of(1)
    manager.settle(manager.lease(need()), limited(5))
    asked = Asked(manager)
    manager.close()
    assert asked.told.wait(40)
    until(lambda: not timers())


def test_a_callback_that_fails_does_not_keep_the_others_from_being_woken(caplog):
    manager = manager_of(key("a", max_concurrent_requests=2))
    first = manager.lease(need())
    manager.lease(need())
    manager.request(need(), lambda: 1 / 0)
    behind = Asked(manager)
    manager.add_key("sk-another-one")
    assert behind.wait()
    assert "ZeroDivisionError" in caplog.text
    manager.settle(first, OK)


def test_callbacks_run_without_the_lock():
    manager = narrow()
    lease = manager.lease(need())
    seen = []
    manager.request(need(), lambda: seen.append(repr(manager)))
    manager.on_drop(lambda *_: seen.append(repr(manager)))
    manager.settle(lease, DEAD)
    assert len(seen) == 2


def test_a_thousand_threads_share_a_thousand_keys():
    """All are served though most wait, and the processor is used sparingly."""
    manager = manager_of(*(key(f"k{n}", max_concurrent_requests=1) for n in range(1000)))
    held = [manager.lease(need()) for _ in range(1000)]
    served = []

    def work():
        lease = manager.lease(need())
        served.append(lease.key_name)
        manager.settle(lease, OK)

    threads = in_threads(*[work] * 1000)
    until(lambda: manager.counts().waiting == 1000)
    start_s = time.process_time()
    for lease in held:
        manager.settle(lease, OK)
    for thread in threads:
        thread.join(60)
    assert len(served) == 1000
    assert manager.counts().in_flight == 0
    assert time.process_time() - start_s < 2.0


@pytest.mark.parametrize("limits", [{"rpm": 60}, {"tpm": 6000}])
def test_a_thousand_limited_keys_serve_a_thousand_waiters_in_little_time(limits):
    clock = FakeClock()
    manager = manager_of(*(key(f"k{n}", **limits) for n in range(1000)), clock=clock)
    for _ in range(60_000 if "rpm" in limits else 1000):
        manager.settle(manager.lease(need(6000)), OK)
    asked = [Asked(manager, need(50 + n % 50)) for n in range(1000)]
    start_s = time.process_time()
    clock.advance(1)
    for each in asked:
        each.wait()
    assert time.process_time() - start_s < 2.0


def test_lending_costs_little():
    """A lease and its settlement take microseconds, whether of 5 keys or of 1,000."""
    for keys in (5, 1000):
        manager = manager_of(keys)
        start_s = time.process_time()
        for _ in range(5000):
            manager.settle(manager.lease(need()), UNSENT)
        each_us = (time.process_time() - start_s) / 5000 * 1e6
        print(f"{keys} keys: {each_us:.1f} us")
        assert each_us < 60
