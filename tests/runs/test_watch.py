"""A hook hangs when it does nothing for so long while the process itself runs."""

import threading
from types import SimpleNamespace

import pytest

from openai_parallel_toolkit.core.clock import FakeClock
from openai_parallel_toolkit.runs.hang_watchdog import HangWatchdog


class Place:
    """Files whose hooks the test moves, and a watchdog that looks every fifth of a second."""

    def __init__(self, count=1, timeout_s=60.0):
        self.clock = FakeClock()
        self.given_up = []
        self._tasks = [self._task(slot) for slot in range(count)]
        self._watchdog = HangWatchdog(self, self, self.clock, timeout_s, stop=pytest.fail)

    def _task(self, slot):
        file_calls = SimpleNamespace(idle_since_s=self.clock.now_s(), is_abandoned=False)
        thread_id = threading.get_ident()
        return SimpleNamespace(
            slot=slot, path=f"f{slot}", file_calls=file_calls, hook_task=None, thread_id=thread_id
        )

    def move(self, slot, *, waits=False):
        self._tasks[slot].file_calls.idle_since_s = None if waits else self.clock.now_s()

    def stand_still(self, seconds):
        """Let time pass in which the process does not run."""
        self.clock.advance(seconds)

    def pass_by(self, seconds):
        for _ in range(round(seconds * 5)):
            self.clock.advance(0.2)
            self._watchdog.look()
        return self.given_up

    # What a watchdog asks of runner and workers

    def tasks(self):
        return list(self._tasks)

    def abandon(self, task, note):
        task.file_calls.is_abandoned = True
        self.given_up.append(task.path)
        return True

    def at_fault(self, idle):
        return idle

    def replace(self, task):
        return True


def test_a_hook_that_does_nothing_for_so_long_is_given_up_once():
    place = Place()
    assert place.pass_by(59) == []
    assert place.pass_by(2) == ["f0"]
    assert place.pass_by(120) == ["f0"]


def test_what_a_hook_does_and_what_it_waits_for_begins_its_time_anew():
    place = Place(3)
    place.pass_by(40)
    place.move(0)
    place.move(1, waits=True)
    assert place.pass_by(40) == ["f2"]
    place.move(1)
    assert place.pass_by(40) == ["f2", "f0"]
    assert place.pass_by(40) == ["f2", "f0", "f1"]


def test_time_in_which_the_process_stood_still_is_held_against_no_hook():
    place = Place()
    place.pass_by(30)
    for _ in range(5):
        place.stand_still(3600)
        assert place.pass_by(2) == []
    assert place.pass_by(30) == ["f0"]
