"""`run` works through a folder, says what came of it, and can be stopped and started again."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from cli_workspace import until

from openai_parallel_toolkit.simulator import SimKey, Simulator

HANG = """\
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

from hooks import Mine


class Hangs(Mine):
    def process_data(self, data):
        Path("hanging").touch()
        ThreadPoolExecutor(1).submit(Event().wait).result()
"""

QUIET = """\
from pathlib import Path

from hooks import Mine


class Quiet(Mine):
    def process_output(self, data, output_file_without_ext):
        Path(output_file_without_ext + ".json").write_text(data)
"""


def test_every_file_is_worked_on_and_a_second_run_skips_all(workspace, sim):
    first = workspace.inputs(3).configure(sim).run()
    assert first.code == 0
    assert "3 done" in first.out
    assert len(workspace.outputs()) == 3
    second = workspace.run()
    assert second.code == 0
    assert "3 skipped" in second.out
    assert sim.ledger.billed() == 3


def test_the_summary_is_json_alone_on_standard_output(workspace, sim):
    result = workspace.inputs(3).configure(sim).run("--json")
    assert result.json["done"] == 3
    assert result.json["calls"]["sent"] == 3
    assert "a hook speaks" in result.err


def test_a_dry_run_tells_what_would_be_asked_and_sends_nothing(workspace, sim):
    result = workspace.inputs(3).configure(sim).run("--dry-run")
    assert result.code == 0
    assert "3 files would be worked on and first send 3 calls" in result.out
    assert sim.ledger.hits() == 0


def test_settings_reach_the_toolkit_by_name(workspace, sim):
    workspace.inputs(4).configure(sim).write("in/skip.md", "not a text")
    result = workspace.run(
        "--pattern=*.txt", "--exclude=f03*", "--file-count=2", "--output-names=whole", "--threads=1"
    )
    assert result.code == 0
    assert workspace.outputs() == ["f00.txt.json", "f01.txt.json"]


def test_settings_that_are_not_given_are_left_to_the_subclass(workspace, sim):
    workspace.inputs(2).configure(sim).write(
        "whole.py",
        "from hooks import Mine\nclass Whole(Mine):\n"
        "    def __init__(self, *a, output_names='whole', **k):\n"
        "        super().__init__(*a, output_names=output_names, **k)\n",
    )
    assert workspace.give("run", "whole.py", "in", "out").code == 0
    assert workspace.outputs() == ["f00.txt.json", "f01.txt.json"]


def test_a_run_with_failed_files_exits_with_1(workspace, sim):
    workspace.inputs(2).configure(sim)
    (workspace.root / "in" / "bad.txt").write_bytes(b"\xff\xfe\xff")
    result = workspace.run("--no-progress", env={"LC_ALL": "C"})
    assert result.code == 1
    assert "2 done" in result.out
    assert "1 failed" in result.out
    assert workspace.run("--fail-on-error").code == 1


def test_a_run_without_a_usable_key_exits_with_4(workspace, sim):
    result = workspace.inputs(2).configure(sim, "empty").run()
    assert result.code == 4
    assert "Traceback" not in result.err


def test_a_second_run_is_told_who_holds_the_folder_and_exits_with_3(workspace, holding_sim, let_go):
    workspace.inputs(2).configure(holding_sim)
    with workspace.start_run() as first:
        until(lambda: holding_sim.ledger.hits() > 0)
        second = workspace.run()
        assert second.code == 3
        assert f"Process {first.pid}" in second.mistake
        let_go.set()
        first.communicate()
    assert first.returncode == 0


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_stops_the_run_and_the_next_one_pays_only_for_the_rest(workspace, number, code):
    started = []

    def send(row):
        if row.ordinal == 4:
            started[0].send_signal(number)

    with Simulator([SimKey("good")], latency=0.7, on_post=send) as sim:
        workspace.inputs(6).configure(sim)
        with workspace.start_run("--threads=2", "--no-progress", "--json") as process:
            started.append(process)
            out, err = process.communicate(timeout=60)
        assert process.returncode == code
        assert b"Traceback" not in err
        assert b"run it again to go on" in err
        assert number.name.encode() in out
        assert len(workspace.outputs()) < 6
        assert workspace.run().code == 0
        assert len(workspace.outputs()) == 6
        assert sim.ledger.billed() == 6


@pytest.fixture
def hanging(workspace, sim):
    """A run whose hook hangs in a pool of its own."""
    started = []
    workspace.inputs(1).configure(sim).write("hangs.py", HANG)

    def start(*more):
        started.append(workspace.start("run", "hangs.py:Hangs", "in", "out", *more))
        until((workspace.root / "hanging").exists)
        return started[0]

    yield start
    started[0].kill()


def test_a_hook_that_hangs_in_its_own_pool_does_not_hold_the_exit(hanging):
    with hanging("--grace=0.5") as process:
        since_s = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=40)
        assert time.monotonic() - since_s < 30  # it hangs for ever
    assert process.returncode == 130


def test_a_second_signal_leaves_at_once(hanging):
    with hanging("--grace=60") as process:
        since_s = time.monotonic()
        while process.poll() is None:  # signals that come together count as one
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.4)
        _, err = process.communicate(timeout=40)
        assert time.monotonic() - since_s < 30
    assert process.returncode == 130
    assert b"Traceback" not in err


def test_a_hook_that_hangs_is_given_up_and_the_run_ends(workspace, sim):
    workspace.inputs(1).configure(sim).write("hangs.py", HANG)
    result = workspace.give("run", "hangs.py:Hangs", "in", "out", "--hook-timeout=1")
    assert result.code == 1
    assert "1 failed" in result.out


def test_a_reader_that_goes_away_is_no_crash(workspace, sim):
    workspace.inputs(3).configure(sim).write("quiet.py", QUIET)
    read, write = os.pipe()
    os.close(read)
    with workspace.start("run", "quiet.py", "in", "out", "--no-progress", stdout=write) as process:
        os.close(write)
        _, err = process.communicate(timeout=40)
    assert (process.returncode, err) == (0, b"")
    assert len(workspace.outputs()) == 3


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_stopped_before_it_has_begun_says_so(workspace, sim, number, code):
    """Its log is a pipe that nobody reads yet, so that it waits before anything else."""
    workspace.inputs(1).configure(sim)
    os.mkfifo(workspace.root / "log")
    with workspace.start_run("--log-file=log") as process:
        until(lambda: is_waiting_for_a_reader(process.pid))
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert f"Stopped: told to by {number.name}, before any work began.".encode() in out
    assert err.endswith(b"stopped; run it again to go on\n")
    assert b"Traceback" not in err
    assert sim.ledger.hits() == 0


def is_waiting_for_a_reader(pid):
    """Whether a process is in the middle of opening what it will write to."""
    return b"wait_for_partner" in Path(f"/proc/{pid}/wchan").read_bytes()


def test_a_module_that_is_stopped_while_it_is_imported_is_no_mistake(workspace):
    slow = "open('importing', 'w').close()\nimport threading\nthreading.Event().wait(60)\n"
    workspace.write("slow.py", slow)
    with workspace.start("run", "slow.py", "in", "out") as process:
        until((workspace.root / "importing").exists)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert err == b"openai-parallel-toolkit: stopped; run it again to go on\n"


def test_a_run_that_waits_for_its_first_answer_ends_with_a_summary(workspace, holding_sim, let_go):
    """Also when it is told twice."""
    workspace.inputs(2).configure(holding_sim)
    with workspace.start_run("--grace=60") as process:
        until(lambda: holding_sim.ledger.hits() > 0)
        while process.poll() is None:  # signals that come together count as one
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.4)
        let_go.set()
        out, err = process.communicate(timeout=40)
    assert process.returncode == 143
    assert b"Files: 0 done, 0 skipped, 2 left" in out
    assert b"Stopped: told to by SIGTERM" in out
    assert b"Traceback" not in err
