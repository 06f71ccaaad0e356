"""Threads that wait for answers go on one at a time, and none waits for one that takes long."""

import asyncio
import threading

import pytest

from openai_parallel_toolkit.calls.turns import Arrivals, Turns
from openai_parallel_toolkit.core.loop_calls import LoopCalls

PATIENCE_S = 20


@pytest.fixture
def calls():
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield LoopCalls(loop)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(PATIENCE_S)
    loop.close()


class Waiters:
    """Threads that each wait for their item, do something with it, and wait for one more."""

    def __init__(self, calls, count, work):
        self.turns, self.order = Turns(calls), []
        self._work = work
        self.arrivals = [Arrivals(self.turns) for _ in range(count)]
        self.threads = [
            threading.Thread(target=self._wait, args=(n,), daemon=True) for n in range(count)
        ]
        for thread in self.threads:
            thread.start()

    def _wait(self, number):
        while self.arrivals[number].get() is not None:
            self._work(number)
            self.order.append(number)

    def put(self, item, numbers=None):
        for number in range(len(self.arrivals)) if numbers is None else numbers:
            self.arrivals[number].put(item)

    def end(self):
        self.put(None)
        for thread in self.threads:
            thread.join(PATIENCE_S)
        assert not any(thread.is_alive() for thread in self.threads)


def test_they_go_on_one_at_a_time_in_the_order_of_their_answers(calls):
    inside, most, done = set(), [0], threading.Semaphore(0)

    def work(number):
        inside.add(number)
        most[0] = max(most[0], len(inside))
        sum(range(200))
        inside.discard(number)
        done.release()

    waiters = Waiters(calls, 8, work)
    numbers = [3, 1, 7, 0, 2, 6, 5, 4]
    calls.post(waiters.put, 1, numbers)  # as answers come: on the loop's own thread
    for _ in numbers:
        assert done.acquire(timeout=PATIENCE_S)
    waiters.end()
    assert waiters.order == numbers
    assert most == [1]


def test_one_that_takes_long_holds_up_nobody(calls):
    release, done = threading.Event(), threading.Semaphore(0)

    def work(number):
        if number < 4:  # a hook that waits for something else
            release.wait(PATIENCE_S)
        done.release()

    waiters = Waiters(calls, 12, work)
    calls.post(waiters.put, 1)
    for _ in range(8):
        assert done.acquire(timeout=PATIENCE_S)
    answered = threading.Event()
    calls.post(answered.set)  # nor does the loop wait for it
    assert answered.wait(PATIENCE_S)
    release.set()
    waiters.end()
    assert sorted(waiters.order) == list(range(12))


def test_a_thread_that_ends_with_its_turn_holds_up_nobody(calls):
    turns = Turns(calls)
    for _ in range(20):
        arrivals = Arrivals(turns)
        thread = threading.Thread(target=arrivals.get, daemon=True)
        thread.start()
        calls.post(arrivals.put, 1)
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_what_has_arrived_is_taken_in_order_and_waiting_has_an_end(calls):
    arrivals = Arrivals(Turns(calls))
    for item in "abc":
        arrivals.put(item)
    assert [arrivals.get(), arrivals.get(), arrivals.get()] == ["a", "b", "c"]
    with pytest.raises(TimeoutError):
        arrivals.get(0.01)
    calls.post(arrivals.put, "d")
    assert arrivals.get(PATIENCE_S) == "d"


def test_when_turns_end_all_that_are_ready_go_on_and_so_do_those_who_come_later(calls):
    release, done = threading.Event(), threading.Semaphore(0)

    def work(number):
        done.release()
        release.wait(PATIENCE_S)  # none gives its turn back

    waiters = Waiters(calls, 6, work)

    def put_and_end():  # as a sender that is closed: its loop stops behind this
        waiters.put(1, range(3))
        waiters.turns.end()
        calls.loop.stop()

    calls.post(put_and_end)
    for _ in range(3):
        assert done.acquire(timeout=PATIENCE_S)
    waiters.put(1, range(3, 6))
    for _ in range(3):
        assert done.acquire(timeout=PATIENCE_S)
    release.set()
    waiters.end()
    assert sorted(waiters.order) == list(range(6))
