"""A disk that fills up in batch mode: the run stops and says where, and nothing is paid twice."""

import os
import threading
from random import Random
from typing import ClassVar

import pytest
from batch_fixture import STATE, Ask, billed_twice, lines_of, question, until
from small_disk import small_disk

from openai_parallel_toolkit import Gpt35Turbo, StorageError, multi_process_one, request_openai_api
from openai_parallel_toolkit.cli.exits import code_of
from openai_parallel_toolkit.journal import JournalReader

FILES = 40
CALLS = 2 * FILES


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "small-disk") as mounted:
        yield mounted


class Bulky(Ask):
    """Two questions a file, which are large, as are the outputs; `meanwhile` is done once."""

    meanwhile: ClassVar = {}
    lock: ClassVar = threading.Lock()

    def process_data(self, data):
        self._do("asking", data)
        prompts = [("p", f"{n} {data} " + "word " * 500) for n in range(2)]
        return multi_process_one(prompts, Gpt35Turbo)

    def process_output(self, data, output_file_without_ext):
        self._do("writing", "file 20:")
        with open(output_file_without_ext + ".txt", "w") as out:
            out.write(
                "\n".join(map(str, data)) + "x" * 200_000
            )  # all together more than the reserve

    def _do(self, what, data):
        with self.lock:  # others wait until it is done
            if "file 20:" in data and what in self.meanwhile:
                self.meanwhile.pop(what)()


def bulky(**meanwhile):
    """A kind of hooks that does something once while it is `asking` or `writing`."""
    return type("Bulky", (Bulky,), {"meanwhile": meanwhile})


def expected_outputs(fixture):
    """What a run on a large disk writes."""
    return fixture.live_outputs(bulky())


def place_on(fixture, disk, what):
    """Put a part of the run's files on the small disk; return the settings that say so."""
    if what == "journal":
        return {"state_path": disk.path / "state"}
    if what == "files on their way":
        fixture.state.mkdir(parents=True, mode=0o700)
        disk.move(fixture.state / "batches")
        return {}
    fixture.output = disk.path / "out"
    if what == "outputs":
        return {"state_path": fixture.root / "state"}
    return {}


def stops(fixture, disk, caplog, kind, **settings):
    """Run until the disk is full, and see what the run says of it; return its summary."""
    with pytest.raises(StorageError) as caught:
        fixture.run(kind, batch={"max_lines": 30}, **settings)
    assert str(disk.path) in os.path.realpath(caught.value.path)
    assert code_of(caught.value) == 5
    assert not [record for record in caplog.records if record.exc_info], "it needs no traceback"
    summary = caught.value.summary
    assert summary.failed == 0
    assert summary.stopped
    return summary


def goes_on(fixture, disk, sim, expected, **settings):
    """Run again with room enough: all is done, was bought once, and nothing is left anywhere."""
    disk.enlarge()
    summary = fixture.run(bulky(), batch={"max_lines": 30}, **settings)
    assert (summary.failed, summary.left, summary.batches_left) == (0, 0, 0)
    assert fixture.outputs() == expected
    assert billed_twice(sim) == {}
    assert (sim.ledger.billed(), len(lines_of(sim))) == (CALLS, CALLS)
    assert sim.files.stored() == []
    state = settings.get("state_path", fixture.output / STATE)
    assert not list((state / "batches").glob("*.jsonl*"))
    with JournalReader(str(state)) as journal:
        totals = journal.status().totals.all_runs
    assert (totals.answered, totals.unanswered) == (CALLS, 0)


@pytest.mark.parametrize(
    ("what", "path"),
    [
        *((what, path) for what in ["journal", "all"] for path in ["asking", "/files", "/batches"]),
        ("files on their way", "asking"),
    ],
)
def test_a_disk_that_is_full_before_batches_are_out_stops_the_run(
    fixture, disk, caplog, what, path
):
    once = threading.Lock()

    def fill(row):
        if row.path.endswith(path) and once.acquire(blocking=False):
            disk.fill()

    sim = fixture.simulate(on_post=fill)
    expected = expected_outputs(fixture.inputs(FILES))
    fixture.configure(sim)
    settings = place_on(fixture, disk, what)
    stops(
        fixture, disk, caplog, bulky(asking=disk.fill) if path == "asking" else bulky(), **settings
    )
    goes_on(fixture, disk, sim, expected, **settings)


@pytest.mark.parametrize("what", ["journal", "files on their way", "all"])
def test_answers_that_there_is_no_room_for_are_fetched_again(fixture, disk, caplog, what):
    sim = fixture.simulate()
    expected = expected_outputs(fixture.inputs(FILES))
    fixture.configure(sim)
    settings = place_on(fixture, disk, what)
    spool = settings.get("state_path", fixture.output / STATE) / "batches"
    sim.batch_controls.hold()

    def fill():
        until(lambda: [b.status for b in sim.batches.batches()] == ["in_progress"] * 3)
        until(lambda: not list(spool.glob("*.jsonl")))  # the batches' ids are noted
        disk.fill()
        sim.batch_controls.release()

    filler = threading.Thread(target=fill)
    filler.start()
    stops(fixture, disk, caplog, bulky(), **settings)
    filler.join()
    assert sim.batches.batches() != []
    goes_on(fixture, disk, sim, expected, **settings)
    assert len(sim.batches.batches()) == 3


@pytest.mark.parametrize("what", ["outputs", "all"])
def test_outputs_that_there_is_no_room_for_are_written_by_the_next_run(fixture, disk, caplog, what):
    sim = fixture.simulate()
    expected = expected_outputs(fixture.inputs(FILES))
    fixture.configure(sim)
    settings = place_on(fixture, disk, what)
    assert stops(fixture, disk, caplog, bulky(writing=disk.fill), **settings).left > 0
    assert sim.ledger.billed() == CALLS
    goes_on(fixture, disk, sim, expected, **settings)


def test_questions_that_there_is_no_room_for_are_asked_by_the_next_run(fixture, disk, caplog):
    """They are more than what the journal has set aside for the last answers."""

    class Large(Ask):
        fill: ClassVar = [disk.fill]

        def process_data(self, data):
            while self.fill:
                self.fill.pop()()
            return request_openai_api(question(Random(data).randbytes(200_000).hex()))

    sim = fixture.simulate()
    fixture.inputs(20).configure(sim)
    settings = place_on(fixture, disk, "journal")
    stops(fixture, disk, caplog, Large, **settings)
    disk.enlarge()
    assert (fixture.run(Large, **settings).done, sim.ledger.billed()) == (20, 20)
