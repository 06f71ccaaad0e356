"""A process may open only so many files and connections, and a run lives within that."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = Path(__file__).with_name("limited_child.py")
FILES = 120
KINDS = ["Blocking", "Async"]


def run(fixture, kind, soft, hard):
    command = [sys.executable, str(CHILD), kind, str(soft), str(hard)]
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
