import os
import subprocess
import sys

import pytest

from openai_parallel_toolkit.files.in_progress import InProgressFile, InProgressFiles


@pytest.fixture
def register(tmp_path):
    register = InProgressFiles(str(tmp_path / "open"))
    yield register
    register.close()


def seen(path, in_call=False, alone=False):
    return InProgressFile(path=path, in_call=in_call, alone=alone)


def test_only_files_that_were_never_left_are_read_back(register):
    register.enter(0, "a.txt")
    register.enter(1, "b.txt", alone=True)
    register.enter(7, "c.txt")
    register.leave(0)
    assert register.read_back() == [seen("b.txt", alone=True), seen("c.txt")]


def test_a_slot_holds_its_latest_file(register):
    register.enter(0, "a-long-name.txt")
    register.in_call(0, True)
    register.enter(0, "b")
    assert register.read_back() == [seen("b")]


def test_whether_a_hook_waits_in_a_call_is_known(register):
    register.enter(3, "a.txt")
    register.in_call(3, True)
    assert register.read_back() == [seen("a.txt", in_call=True)]
    register.in_call(3, False)
    assert register.read_back() == [seen("a.txt")]


@pytest.mark.parametrize("path", ["x" * 4_095, os.fsdecode(b"\xff/\xfe\n.txt"), "é" * 2_000])
def test_any_path_comes_back_as_it_was(register, path):
    register.enter(1, path)
    assert register.read_back() == [seen(path)]


def test_clear_forgets_everything_and_the_register_goes_on(register):
    register.enter(2, "a")
    register.clear()
    assert register.read_back() == []
    register.enter(0, "b")
    assert register.read_back() == [seen("b")]


def test_slots_have_room_on_the_disk_before_they_are_written_to(register, tmp_path):
    """A store to a mapped page for which a full disk has no room would kill the process."""
    register.enter(70, "a")
    taken = os.stat(tmp_path / "open")
    assert taken.st_blocks * 512 >= taken.st_size > 70 * 8192


@pytest.mark.crash
def test_the_register_outlives_a_process_that_is_killed(tmp_path):
    code = """
import os, signal, sys
from openai_parallel_toolkit.files.in_progress import InProgressFiles
register = InProgressFiles(sys.argv[1])
register.enter(0, "left"); register.leave(0)
register.enter(1, "waiting"); register.in_call(1, True)
register.enter(2, "poison")
os.kill(os.getpid(), signal.SIGKILL)
"""
    path = str(tmp_path / "open")
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    child = subprocess.run(
        [sys.executable, "-c", code, path], env={**os.environ, "PYTHONPATH": root}, check=False
    )
    assert child.returncode == -9
    register = InProgressFiles(path)
    assert register.read_back() == [seen("waiting", in_call=True), seen("poison")]
    register.close()
