"""`ctl` changes what a run that is on may do."""

import json
import os

import pytest
from cli_workspace import Result, until

from openai_parallel_toolkit.simulator import Latency, SimKey, Simulator


def test_a_run_takes_up_more_threads_and_says_so(workspace):
    with Simulator([SimKey("good")], latency=Latency(0.5)) as sim:
        workspace.inputs(40).configure(sim)
        run = workspace.start_run("--threads", 2)
        until(lambda: sim.ledger.hits() >= 2)
        told = workspace.give("ctl", "out", "--threads", 12)
        assert (told.code, told.out) == (0, "threads: 12 files at a time from now on\n")
        assert Result(run).code == 0
    assert 2 < sim.ledger.in_flight_peak <= 12
    assert not list(workspace.state.glob("run.json*"))


def test_fewer_threads_finish_what_they_have_in_hand(workspace):
    with Simulator([SimKey("good")], latency=Latency(0.5)) as sim:
        workspace.inputs(24).configure(sim)
        run = workspace.start_run("--threads", 8)
        until(lambda: sim.ledger.hits() >= 8)
        assert workspace.give("ctl", "out", "--threads", 1).code == 0
        assert Result(run).code == 0
        assert sim.ledger.billed() == 24
        last = sim.ledger.rows()[-4:]
        assert sim.ledger.in_flight_peak <= 8
        assert len({row.ordinal for row in last}) == 4


def test_money_may_be_raised_and_less_than_is_spent_ends_the_run(workspace):
    with Simulator([SimKey("good")], latency=Latency(0.5)) as sim:
        workspace.inputs(60).configure(sim)
        run = workspace.start_run("--threads", 2, "--max-cost", 5)
        until(lambda: sim.ledger.hits() >= 2)
        told = workspace.give("ctl", "out", "--max-cost", 7)
        assert told.out == "max_cost: $7 from now on\n"
        told = workspace.give("ctl", "out", "--max-cost", "0.000001")
        assert told.out == "max_cost: $0.000001 from now on\n"
        assert Result(run).code == 6
    assert sim.ledger.billed() < 60


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ((), "nothing to change"),
        (("--threads", "0"), "num_threads: expected a positive whole number"),
        (("--max-cost", "5"), "this run began without one"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(workspace, asked, words):
    with Simulator([SimKey("good")], latency=Latency(0.5)) as sim:
        workspace.inputs(20).configure(sim)
        run = workspace.start_run("--threads", 2)
        until(lambda: sim.ledger.hits() >= 2)
        told = workspace.give("ctl", "out", *asked)
        assert (told.code, words in told.mistake) == (2, True)
        run.terminate()
        Result(run)


def test_without_a_run_it_says_that_none_is_on(workspace, sim):
    workspace.inputs(1).configure(sim).run()
    assert "no run is on there" in workspace.give("ctl", "out", "--threads", 3).mistake


def test_a_run_passes_over_links_and_nonsense_in_the_place_of_what_is_asked(workspace):
    with Simulator([SimKey("good")], latency=Latency(0.4)) as sim:
        workspace.inputs(12).configure(sim)
        run = workspace.start_run("--threads", 2)
        until(lambda: sim.ledger.hits() >= 2)
        asked = workspace.state / "run.json.asked"
        asked.write_text('["' * 3000)
        until(lambda: not asked.exists())
        other = workspace.root / "other.json"
        other.write_text(json.dumps({"id": "1", "changes": {"num_threads": 12}}))
        os.symlink(other, asked)
        until(lambda: not os.path.lexists(asked))
        assert Result(run).code == 0
        assert other.exists()
        assert sim.ledger.in_flight_peak == 2
