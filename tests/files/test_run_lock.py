import os
import signal
import subprocess
import sys

import pytest

from openai_parallel_toolkit.core.clock import FakeClock
from openai_parallel_toolkit.core.errors import RunLocked
from openai_parallel_toolkit.files.run_lock import RunLock

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HOLD = """
import sys
from openai_parallel_toolkit.core.errors import RunLocked
from openai_parallel_toolkit.files.run_lock import RunLock
lock = RunLock(sys.argv[1])
try:
    lock.acquire()
except RunLocked as exc:
    print("locked", exc.pid, flush=True)
    sys.exit(exc.exit_code)
print("held", flush=True)
sys.stdin.read()
"""
FORK = """
import os, sys, time
from openai_parallel_toolkit.files.run_lock import RunLock
lock = RunLock(sys.argv[1])
lock.acquire()
child = os.fork()
if child == 0:
    os.close(1)
    time.sleep(30)
    os._exit(0)
print(child, flush=True)
sys.stdin.read()
"""


def start(code, folder):
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": ROOT},
    )


def kill(process):
    process.kill()
    process.communicate()


def test_the_second_process_is_told_who_holds_the_lock(tmp_path):
    holder = start(HOLD, tmp_path)
    assert holder.stdout.readline() == "held\n"
    lock = RunLock(str(tmp_path))
    with pytest.raises(RunLocked) as caught:
        lock.acquire()
    assert caught.value.pid == holder.pid
    assert caught.value.host
    assert caught.value.since.endswith("+00:00")
    assert str(holder.pid) in str(caught.value)
    kill(holder)
    lock.acquire()
    lock.release()


def test_a_stale_holder_is_never_named(tmp_path):
    dead = start(HOLD, tmp_path)
    dead.stdout.readline()
    kill(dead)
    stale = (tmp_path / "run.json").read_text()
    holder = start(HOLD, tmp_path)
    holder.stdout.readline()
    (tmp_path / "run.json").write_text(stale)
    for text in (stale, "", "{", "[1]", '{"pid": "x"}'):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(RunLocked, match="Another process") as caught:
            RunLock(str(tmp_path)).acquire()
        assert caught.value.pid is None
    kill(holder)


def test_since_is_the_clocks_time(tmp_path):
    lock = RunLock(str(tmp_path), clock=FakeClock(wall_s=0.0))
    lock.acquire()
    assert "1970-01-01T00:00:00+00:00" in (tmp_path / "run.json").read_text()
    lock.release()
    assert not (tmp_path / "run.json").exists()


def test_of_eight_processes_exactly_one_runs_and_all_others_name_it(tmp_path):
    racers = [start(HOLD, tmp_path) for _ in range(8)]
    says = {racer.pid: racer.stdout.readline().split() for racer in racers}
    held = [pid for pid, words in says.items() if words == ["held"]]
    assert len(held) == 1
    assert all(words == ["locked", str(held[0])] for pid, words in says.items() if pid != held[0])
    for racer in racers:
        kill(racer)


@pytest.mark.crash
def test_a_forked_child_does_not_keep_the_lock_of_a_killed_parent(tmp_path):
    parent = start(FORK, tmp_path)
    child = int(parent.stdout.readline())
    kill(parent)
    try:
        lock = RunLock(str(tmp_path))
        lock.acquire()
        lock.release()
    finally:
        os.kill(child, signal.SIGKILL)
