"""A disk that fills up in the middle of a run: it stops, says where, and nothing is paid twice."""

import contextlib
import os
import shutil
import subprocess
import threading

import pytest
from wire_desk import STATE, Ask, question

from openai_parallel_toolkit import StorageError, request_openai_api
from openai_parallel_toolkit.journal import JournalReader

FILES = 120
MEGABYTE = 1024 * 1024


class SmallDisk:
    """A file system of its own, which a test can fill and enlarge."""

    def __init__(self, path):
        self.path = path

    def fill(self, *, leave_bytes):
        """Let somebody else take the space."""
        with contextlib.suppress(OSError), open(self.path / "somebody-elses", "wb", 0) as out:
            while (room := os.statvfs(self.path)).f_bavail * room.f_frsize > leave_bytes:
                out.write(bytes(64 * 1024))

    def enlarge(self, size_mb):
        (self.path / "somebody-elses").unlink()
        _mount(f"remount,size={size_mb}m", self.path)


def _mount(options, path):
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)],
        check=True,
        capture_output=True,
        timeout=10,
    )


@pytest.fixture
def disk(tmp_path):
    path = tmp_path / "small-disk"
    path.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no mount command")
    try:
        _mount("size=24m", path)
    except subprocess.CalledProcessError as exc:
        pytest.skip(f"a tmpfs cannot be mounted here: {exc.stderr.decode().strip()}")
    yield SmallDisk(path)
    subprocess.run(["umount", "-l", str(path)], check=True, timeout=10)


def filling(disk, *, leave_bytes, at="file 40:", bulk=20_000):
    """Hooks in one of which the disk is filled up, and whose outputs have some weight."""
    is_first = threading.Lock()

    class Fills(Ask):
        def process_data(self, data):
            if at in data and is_first.acquire(blocking=False):
                disk.fill(leave_bytes=leave_bytes)
            return [request_openai_api(question(f"{n} {data}")) for n in range(2)]

        def process_output(self, data, output_file_without_ext):
            with open(output_file_without_ext + ".txt", "w") as out:
                out.write("\n".join(data) + "x" * bulk)

    return Fills


def expected_outputs(desk, kind, sim):
    """What a run on a large disk writes."""
    del sim
    from wire_desk import Desk

    with contextlib.ExitStack() as stack:
        root = desk.root / "elsewhere"
        root.mkdir()
        other = Desk(root, stack)
        other.inputs(FILES).configure(other.simulate()).run(kind)
        return other.outputs()


@pytest.mark.parametrize("what", ["journal", "outputs", "both"])
def test_nothing_is_paid_twice_when_space_is_given_after_a_full_disk(desk, disk, what):
    sim = desk.simulate(latency=0.01)
    desk.inputs(FILES).configure(sim)
    settings = {}
    if what != "journal":
        desk.output = disk.path / "out"
    if what != "both":
        state = (disk.path if what == "journal" else desk.root) / "state"
        settings["state_path"] = state
    kind = filling(disk, leave_bytes=16 * 1024)
    with pytest.raises(StorageError) as caught:
        desk.run(kind, **settings)
    assert str(disk.path) in caught.value.path
    assert caught.value.summary.failed == 0
    assert caught.value.summary.left > 0
    stopped_at = sim.ledger.hits()
    assert stopped_at < 2 * FILES
    with JournalReader(str(settings.get("state_path", desk.output / STATE))) as journal:
        assert journal.status().totals.all_runs.unanswered == 0
    disk.enlarge(64)
    summary = desk.run(kind, **settings)
    assert summary.left == summary.failed == 0
    assert sim.ledger.billed() == 2 * FILES
    assert all(len(rows) == 1 for rows in sim.ledger.by_payload().values())
    assert desk.outputs() == expected_outputs(desk, kind, sim)


def test_a_disk_that_is_nearly_full_is_refused_before_anything_is_paid(desk, disk):
    sim = desk.simulate()
    disk.fill(leave_bytes=3 * MEGABYTE)
    desk.output = disk.path / "out"
    with pytest.raises(StorageError, match="bytes are free"):
        desk.inputs(3).configure(sim).run()
    assert sim.ledger.hits() == 0


def test_a_read_only_output_folder_is_refused_before_anything_is_paid(desk, disk):
    sim = desk.simulate()
    desk.output = disk.path / "out"
    _mount("remount,ro", disk.path)
    with pytest.raises(StorageError) as caught:
        desk.inputs(3).configure(sim).run()
    assert str(disk.path) in caught.value.path
    assert sim.ledger.hits() == 0
