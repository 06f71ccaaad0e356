"""A run that stops while its calls wait stops at once, and blames no file for it."""

import asyncio
import contextlib
import errno
import threading
import time

import pytest
from wire_fixture import Ask, question, until

from openai_parallel_toolkit import (
    APIKeyManager,
    FilesFailed,
    NoUsableKey,
    OpenAIModel,
    StorageError,
    UsageError,
    arequest_openai_api,
    request_openai_api,
)
from openai_parallel_toolkit.core.records import FileState
from openai_parallel_toolkit.simulator import Fault, SimKey

FILES = 12
#: Too few to tell that the server fails everyone.
FEW = 4
#: What ends at once takes less on any machine; what it does not wait for takes far longer.
AT_ONCE_S = 30
#: Seconds of a hook's own work; hooks that do not hang need a small part of them.
HANGS_AFTER_S = 1.0


def hooks(spoil, *, is_async=False):
    """Hooks of which the first file's ask nothing and call `spoil`, the others ask."""

    class Asks(Ask):
        def process_data(self, data):
            if "file 0:" in data:
                return spoil()
            return request_openai_api(question(data))

    class AsksAsync(Ask):
        async def process_data(self, data):
            if "file 0:" in data:
                return await asyncio.to_thread(spoil)
            return await arequest_openai_api(question(data))

    return AsksAsync if is_async else Asks


@pytest.mark.parametrize("is_async", [False, True], ids=["blocking", "async"])
@pytest.mark.parametrize(
    ("error", "expected", "failed"),
    [
        (ValueError("no good"), FilesFailed, ["f000.txt"]),
        (OSError(errno.ENOSPC, "No space left on device", "/somewhere"), StorageError, []),
    ],
    ids=["fail_on_error", "disk"],
)
def test_calls_that_wait_for_a_key_for_ten_minutes_end_at_once(
    fixture, error, expected, failed, is_async
):
    sim = fixture.simulate(faults=[Fault("429", retry_after=600)])
    keys = APIKeyManager(config_path=fixture.inputs(FILES).configure(sim).config)

    def spoil():
        until(lambda: keys.counts().waiting == FILES - 1)
        raise error

    since_s = time.monotonic()
    with pytest.raises(expected) as caught:
        fixture.run(
            hooks(spoil, is_async=is_async),
            key_manager=keys,
            num_threads=FILES,
            fail_on_error=True,
        )
    assert time.monotonic() - since_s < AT_ONCE_S
    summary = caught.value.summary
    assert [line["file"] for line in fixture.failures(summary)] == failed
    assert (summary.done, summary.failed, summary.left) == (0, len(failed), FILES - len(failed))
    assert sim.ledger.billed() == 0
    assert (keys.counts().waiting, keys.counts().in_flight) == (0, 0)


def test_calls_that_pause_after_an_overload_end_at_once(fixture):
    sim = fixture.simulate(faults=[Fault("503", retry_after=500)])
    keys = APIKeyManager(config_path=fixture.inputs(FEW).configure(sim).config)

    def spoil():
        until(lambda: sim.ledger.hits() == FEW - 1 and keys.counts().in_flight == 0)
        raise ValueError("no good")

    with pytest.raises(FilesFailed) as caught:
        fixture.run(hooks(spoil), key_manager=keys, num_threads=FEW, fail_on_error=True)
    assert caught.value.summary.seconds < AT_ONCE_S
    assert caught.value.summary.failed == 1
    assert sim.ledger.hits() == FEW - 1


@pytest.mark.parametrize("is_async", [False, True], ids=["blocking", "async"])
def test_answers_in_flight_are_taken_in_before_the_run_ends(fixture, is_async):
    sim = fixture.simulate(latency=0.5)
    fixture.inputs(FILES).configure(sim)

    def spoil():
        until(lambda: sim.ledger.hits() == FILES - 1)
        raise ValueError("no good")

    with pytest.raises(FilesFailed):
        fixture.run(hooks(spoil, is_async=is_async), num_threads=FILES, fail_on_error=True)
    summary = fixture.run(hooks(lambda: "fine", is_async=is_async))
    assert summary.calls.sent == 0
    assert summary.done + summary.skipped == FILES
    assert sim.ledger.billed() == FILES - 1


def test_grace_bounds_how_long_answers_in_flight_are_waited_for(fixture):
    sim = fixture.simulate(faults=[Fault("never")])
    fixture.inputs(FILES).configure(sim)

    def spoil():
        until(lambda: sim.ledger.hits() == FILES - 1)
        raise ValueError("no good")

    since_s = time.monotonic()
    with pytest.raises(FilesFailed) as caught:
        fixture.run(hooks(spoil), num_threads=FILES, fail_on_error=True, grace_s=0.3)
    assert time.monotonic() - since_s < AT_ONCE_S
    assert (caught.value.summary.failed, caught.value.summary.left) == (1, FILES - 1)
    with fixture.journal() as journal:
        # Each of them may be billed, and the journal says so.
        assert journal.status().totals.all_runs.unanswered == FILES - 1


def test_the_death_of_the_last_key_frees_those_who_wait(fixture):
    sim = fixture.simulate(SimKey("short", quota=3), latency=0.02)
    listed = [{"key": "sim-short", "name": "short", "max_concurrent_requests": 1}]
    with pytest.raises(NoUsableKey) as caught:
        fixture.inputs(FILES).configure_at(sim.url, listed).run(num_threads=FILES)
    assert (caught.value.summary.done, caught.value.summary.failed) == (3, 0)
    assert (sim.ledger.billed(), sim.ledger.hits()) == (3, 4)


# Hooks that hang


class Hangs(Ask):
    """Its hooks stop for good in one file, at a place that the test names."""

    place = "process_data"
    event: threading.Event

    def hang(self, place, is_the_one):
        if place == self.place and is_the_one:
            self.event.wait(50)

    def process_input(self, file):
        self.hang("process_input", file.name.endswith("f001.txt"))
        return file.read()

    def model(self, data):
        return question(data)

    def process_data(self, data):
        self.hang("process_data", "file 1:" in data)
        return request_openai_api(self.model(data))

    def process_output(self, data, output_file_without_ext):
        self.hang("process_output", output_file_without_ext.endswith("f001"))
        super().process_output(data, output_file_without_ext)
        self.hang("after", output_file_without_ext.endswith("f001"))


class HangsAsync(Hangs):
    async def process_data(self, data):
        if self.place == "process_data" and "file 1:" in data:
            await self.wait_for_ever()
        return await arequest_openai_api(self.model(data))

    async def wait_for_ever(self):
        await asyncio.Event().wait()


class HangsAsyncStubbornly(HangsAsync):
    """Does not even let itself be cancelled."""

    async def wait_for_ever(self):
        while not self.event.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(30)


class HangsTheLoop(HangsAsync):
    """Blocks the event loop that all async hooks share."""

    async def wait_for_ever(self):
        self.event.wait(50)


PLACES = ["process_input", "process_data", "process_output", "after"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", [Hangs, HangsAsync], ids=["blocking", "async"])
def test_a_hook_that_hangs_fails_its_file_and_the_run_ends_without_it(fixture, caplog, kind, place):
    sim = fixture.simulate(latency=0.01)

    class Here(kind):
        pass

    Here.place, Here.event = place, threading.Event()
    before = set(threading.enumerate())
    summary = (
        fixture.inputs(10).configure(sim).run(Here, num_threads=2, hook_timeout_s=HANGS_AFTER_S)
    )
    assert (summary.done, summary.failed, summary.left) == (9, 1, 0)
    (line,) = fixture.failures(summary)
    assert (line["file"], line["kind"]) == ("f001.txt", "HookTimeout")
    where = "wait_for_ever" if kind is HangsAsync and place == "process_data" else "hang"
    assert where in line["trace"]
    assert where in caplog.text
    assert summary.seconds < AT_ONCE_S
    outputs = fixture.outputs()
    assert "f001.json" not in outputs
    Here.event.set()
    until(lambda: not [t for t in set(threading.enumerate()) - before if "file-" in t.name])
    assert fixture.outputs() == outputs, "a late result was not ignored"
    assert not list(fixture.output.rglob("f001*"))
    Here.place = "nowhere"
    assert fixture.run(Here, hook_timeout_s=HANGS_AFTER_S).done == 1


class Lasts(OpenAIModel):
    """Its answer comes when an event is over, or a moment later."""

    def __init__(self, event, later_s=0.0):
        self._event, self._later_s = event, later_s

    def generate(self):
        assert self._event.wait(30)
        time.sleep(self._later_s)
        return "at last"


@pytest.mark.parametrize("place", ["process_data", "after"])
@pytest.mark.parametrize("kind", [Hangs, HangsAsync], ids=["blocking", "async"])
def test_a_late_result_is_ignored_while_the_run_goes_on(fixture, kind, place):
    sim = fixture.simulate()

    class Here(kind):
        event = threading.Event()

        def model(self, data):
            return Lasts(self.event, 0.5) if "file 2:" in data else question(data)

    def release():
        until((fixture.state / "failures.jsonl").exists)
        Here.event.set()

    Here.place = place
    releaser = threading.Thread(target=release)
    releaser.start()
    summary = (
        fixture.inputs(4).configure(sim).run(Here, num_threads=4, hook_timeout_s=HANGS_AFTER_S)
    )
    releaser.join()
    assert (summary.done, summary.failed) == (3, 1)
    assert not list(fixture.output.rglob("f001*"))
    with fixture.journal() as journal:
        assert journal.file("f001.txt").file.state is FileState.FAILED


def test_an_async_hook_that_does_not_let_itself_be_cancelled_is_left_behind(fixture):
    sim = fixture.simulate()

    class Here(HangsAsyncStubbornly):
        event = threading.Event()

    summary = (
        fixture.inputs(10).configure(sim).run(Here, num_threads=2, hook_timeout_s=HANGS_AFTER_S)
    )
    Here.event.set()
    assert (summary.done, summary.failed) == (9, 1)
    assert summary.seconds < AT_ONCE_S


def test_an_async_hook_that_blocks_the_loop_of_all_is_named_and_the_run_stops(fixture):
    sim = fixture.simulate()

    class Here(HangsTheLoop):
        event = threading.Event()

    with pytest.raises(UsageError, match=r"f001\.txt blocks the event loop") as caught:
        fixture.inputs(10).configure(sim).run(Here, num_threads=4, hook_timeout_s=HANGS_AFTER_S)
    Here.event.set()
    summary = caught.value.summary
    (line,) = fixture.failures(summary)
    assert (line["file"], line["kind"]) == ("f001.txt", "HookTimeout")
    assert "wait_for_ever" in line["trace"]
    assert summary.seconds < AT_ONCE_S
    Here.place = "nowhere"
    assert fixture.run(Here).left == 0
    assert sim.ledger.billed() == 10


def test_hooks_that_only_wait_for_a_blocked_loop_are_not_taken_for_the_one_that_blocks_it(fixture):
    sim = fixture.simulate(latency=0.3)

    class Here(HangsTheLoop):
        event, blocks = threading.Event(), threading.Event()

        def process_input(self, file):
            if file.name.endswith("f000.txt"):
                request_openai_api(Lasts(self.blocks))  # read when the loop can take no more
            return file.read()

        async def process_data(self, data):
            if "file 1:" in data:
                await arequest_openai_api(question("first " + data))
            if "file 2:" in data:
                await asyncio.sleep(0.6)  # over long before the loop would go on with it
            return await super().process_data(data)

        async def wait_for_ever(self):
            self.blocks.set()
            await super().wait_for_ever()

    with pytest.raises(UsageError, match=r"f001\.txt blocks the event loop") as caught:
        fixture.inputs(3).configure(sim).run(Here, num_threads=3, hook_timeout_s=HANGS_AFTER_S)
    Here.event.set()
    (line,) = fixture.failures(caught.value.summary)
    assert line["file"] == "f001.txt"


def test_waiting_for_a_slow_answer_is_not_hanging(fixture):
    sim = fixture.simulate(latency=2 * HANGS_AFTER_S)
    summary = fixture.inputs(3).configure(sim).run(hook_timeout_s=HANGS_AFTER_S)
    assert (summary.done, summary.failed) == (3, 0)


def test_many_hooks_that_hang_leave_room_for_the_rest(fixture):
    class HangsOften(Ask):
        event = threading.Event()

        def process_input(self, file):
            if file.name.endswith(tuple(f"f{n:03}.txt" for n in range(0, 30, 2))):
                self.event.wait(50)
            return file.read()

    class HangsOftenAsync(HangsOften):
        async def process_data(self, data):
            return await arequest_openai_api(question(data))

    sim = fixture.simulate()
    fixture.inputs(30).configure(sim)
    for kind in (HangsOften, HangsOftenAsync):
        summary = fixture.run(kind, num_threads=20, hook_timeout_s=HANGS_AFTER_S, force=True)
        assert (summary.done, summary.failed) == (15, 15)
    HangsOften.event.set()
