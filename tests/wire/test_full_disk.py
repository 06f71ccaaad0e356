"""A disk that fills up in the middle of a run: it stops, says where, and nothing is paid twice."""

import contextlib
import threading

import pytest
from small_disk import small_disk
from wire_fixture import STATE, Ask, question

from openai_parallel_toolkit import StorageError, request_openai_api
from openai_parallel_toolkit.journal import JournalReader

FILES = 120
MEGABYTE = 1024 * 1024


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "small-disk") as mounted:
        yield mounted


def filling(fill, *, at=40, bulk=20_000):
    """Hooks in one of which the disk is filled up, and whose outputs have some weight."""
    is_first, is_full = threading.Lock(), threading.Event()

    class Fills(Ask):
        def process_data(self, data):
            number = int(data.split()[3].rstrip(":"))
            if number == at and is_first.acquire(blocking=False):
                fill()
                is_full.set()
            assert number <= at or is_full.wait(40)  # what comes later meets a full disk
            return [request_openai_api(question(f"{n} {data}")) for n in range(2)]

        def process_output(self, data, output_file_without_ext):
            with open(output_file_without_ext + ".txt", "w") as out:
                out.write("\n".join(data) + "x" * bulk)

    return Fills


def expected_outputs(fixture, kind, sim):
    """What a run on a large disk writes."""
    del sim
    from wire_fixture import WireFixture

    with contextlib.ExitStack() as stack:
        root = fixture.root / "elsewhere"
        root.mkdir()
        other = WireFixture(root, stack)
        other.inputs(FILES).configure(other.simulate()).run(kind)
        return other.outputs()


@pytest.mark.parametrize("what", ["journal", "outputs", "both"])
def test_nothing_is_paid_twice_when_space_is_given_after_a_full_disk(fixture, disk, what):
    sim = fixture.simulate(latency=0.01)
    fixture.inputs(FILES).configure(sim)
    settings = {}
    if what != "journal":
        fixture.output = disk.path / "out"
    if what != "both":
        state = (disk.path if what == "journal" else fixture.root) / "state"
        settings["state_path"] = state
    kind = filling(lambda: disk.fill(leave_bytes=16 * 1024))
    with pytest.raises(StorageError) as caught:
        fixture.run(kind, **settings)
    assert str(disk.path) in caught.value.path
    assert caught.value.summary.failed == 0
    assert caught.value.summary.left > 0
    stopped_at = sim.ledger.hits()
    assert stopped_at < 2 * FILES
    with JournalReader(str(settings.get("state_path", fixture.output / STATE))) as journal:
        assert journal.status().totals.all_runs.unanswered == 0
    disk.enlarge(64)
    summary = fixture.run(kind, **settings)
    assert summary.left == summary.failed == 0
    assert sim.ledger.billed() == 2 * FILES
    assert all(len(rows) == 1 for rows in sim.ledger.by_payload().values())
    assert fixture.outputs() == expected_outputs(fixture, kind, sim)


@pytest.mark.parametrize("what", ["journal", "both"])
def test_where_somebody_takes_all_room_at_once_no_answer_is_lost(fixture, disk, what):
    sim = fixture.simulate(latency=0.01)
    fixture.inputs(FILES).configure(sim)
    settings = {"state_path": disk.path / "state"} if what == "journal" else {}
    if what == "both":
        fixture.output = disk.path / "out"
    state = settings.get("state_path", fixture.output / STATE)

    with pytest.raises(StorageError) as caught:
        fixture.run(filling(disk.fill_greedily), **settings)
    assert caught.value.summary.failed == 0
    disk.enlarge(64)
    summary = fixture.run(filling(disk.fill, at=FILES), **settings)
    assert summary.left == summary.failed == 0
    assert sim.ledger.billed() == 2 * FILES
    with JournalReader(str(state)) as journal:
        assert journal.status().totals.all_runs.unanswered == 0


def test_a_disk_that_is_nearly_full_is_refused_before_anything_is_paid(fixture, disk):
    sim = fixture.simulate()
    disk.fill(leave_bytes=3 * MEGABYTE)
    fixture.output = disk.path / "out"
    with pytest.raises(StorageError, match="bytes are free"):
        fixture.inputs(3).configure(sim).run()
    assert sim.ledger.hits() == 0


def test_room_that_a_killed_run_had_set_aside_counts_as_free(fixture, disk):
    sim = fixture.simulate()
    fixture.output = disk.path / "out"
    state = fixture.output / STATE
    state.mkdir(parents=True, mode=0o700)
    (state / "reserve").write_bytes(bytes(12 * MEGABYTE))
    assert fixture.inputs(3).configure(sim).run().done == 3


def test_a_read_only_output_folder_is_refused_before_anything_is_paid(fixture, disk):
    sim = fixture.simulate()
    fixture.output = disk.path / "out"
    disk.mount("remount,ro")
    with pytest.raises(StorageError) as caught:
        fixture.inputs(3).configure(sim).run()
    assert str(disk.path) in caught.value.path
    assert sim.ledger.hits() == 0


def test_calls_outside_a_run_go_on_once_there_is_room_again(fixture, disk):
    sim = fixture.simulate()
    keys, journal = fixture.configure(sim).config, disk.path / "calls"

    def ask(*contents):
        for content in contents:
            request_openai_api(question(content), config_path=keys, journal=journal)

    ask("before")
    disk.fill_greedily()
    with pytest.raises(StorageError):
        ask(*(f"{n} in what is left of the journal's own room" for n in range(200)))
    hits = sim.ledger.hits()
    with pytest.raises(StorageError):
        ask("nothing more is sent")
    assert (sim.ledger.hits(), sim.ledger.billed()) == (hits, hits)
    disk.enlarge()
    ask("there is room again")
    assert sim.ledger.hits() == hits + 1
