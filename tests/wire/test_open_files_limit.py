"""A process may have only so many files, connections and threads: a run lives within that."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = Path(__file__).with_name("limited_child.py")
FILES = 120
KINDS = ["Blocking", "Async"]


def run(fixture, kind, soft, hard, what="files"):
    command = [sys.executable, str(CHILD), kind, what, str(soft), str(hard)]
    command += [str(fixture.config), str(fixture.input), str(fixture.output)]
    given = {**os.environ, "PYTHONPATH": str(CHILD.parents[2])}
    return subprocess.run(
        command, env=given, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_limit_of_the_process_is_raised_as_far_as_a_run_needs(fixture, kind):
    sim = fixture.simulate(latency=0.05)
    fixture.inputs(FILES).configure(sim)
    done = run(fixture, kind, soft=64, hard=1024)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(fixture.outputs()) == sim.ledger.billed() == FILES


@pytest.mark.parametrize("kind", KINDS)
def test_where_the_system_allows_no_more_fewer_files_are_under_way_and_the_run_says_so(
    fixture, kind
):
    sim = fixture.simulate(latency=0.02)
    fixture.inputs(FILES).configure(sim)
    done = run(fixture, kind, soft=80, hard=80)
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert "files at a time instead of num_threads=60" in line
    assert "`ulimit -n`" in line
    assert len(fixture.outputs()) == sim.ledger.billed() == FILES


@pytest.mark.parametrize("kind", ["Leaking", "LeakingAsync"])
def test_hooks_that_use_up_all_files_stop_the_run_and_cost_nothing_twice(fixture, kind):
    sim = fixture.simulate(latency=0.02)
    fixture.inputs(FILES).configure(sim)
    stopped = run(fixture, kind, soft=256, hard=256)
    assert stopped.returncode == 1
    assert "Too many open files" in stopped.stderr
    assert "`ulimit -n`" in stopped.stderr
    assert len(fixture.outputs()) < FILES
    again = run(fixture, "Blocking", soft=1024, hard=1024)
    assert again.returncode == 0, again.stderr
    assert len(fixture.outputs()) == sim.ledger.billed() == FILES


@pytest.mark.parametrize("hard", [12, 16, 20, 24, 28])
def test_where_hardly_a_file_can_be_opened_the_run_works_or_says_so(fixture, hard, request):
    if hard != 20 and not request.config.getoption("--full"):
        pytest.skip("in the long form")
    sim = fixture.simulate()
    fixture.inputs(3).configure(sim)
    done = run(fixture, "Async", soft=hard, hard=hard)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0 or "Too many open files" in done.stderr
    assert sim.ledger.billed() == len(fixture.outputs())


@pytest.mark.parametrize("kind", KINDS)
def test_where_no_more_threads_are_to_be_had_fewer_files_are_under_way(fixture, kind):
    sim = fixture.simulate()
    fixture.inputs(30).configure(sim)
    done = run(fixture, kind, 0, hard=9, what="threads")
    assert done.returncode == 0, done.stderr
    assert len(fixture.outputs()) == sim.ledger.billed() == 30
    if kind == "Blocking":
        (line,) = done.stderr.splitlines()
        assert re.search(r"\d files? at a time instead of num_threads=30: .* more thread", line)


def test_without_the_threads_that_sending_takes_nothing_is_sent(fixture):
    sim = fixture.simulate()
    fixture.inputs(3).configure(sim)
    done = run(fixture, "Blocking", 0, hard=1, what="threads")
    assert done.returncode == 1
    assert done.stderr.startswith("OutOfResources: "), done.stderr
    assert sim.ledger.hits() == 0
