"""Whoever was to read has gone, or was never there: the work is done all the same."""

import os
import subprocess

import pytest

FILES = 5


def closed_pipe():
    """A pipe that nobody reads, as `| head` leaves behind."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("gone", [("stdout",), ("stderr",), ("stdout", "stderr")], ids="+".join)
def test_readers_that_have_gone_cost_no_work(workspace, sim, gone):
    workspace.inputs(FILES).configure(sim)
    streams = {name: closed_pipe() for name in gone}
    try:
        with workspace.start_run(**streams) as command:
            command.communicate(timeout=30)
    finally:
        for writing in streams.values():
            os.close(writing)
    assert command.returncode == 0
    assert len(workspace.outputs()) == sim.ledger.billed() == FILES


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_streams_that_were_never_there_cost_no_work(workspace, sim, closed):
    workspace.inputs(FILES).configure(sim)

    def close():
        for number in closed:
            os.close(number)

    with workspace.start_run(stdin=subprocess.DEVNULL, preexec_fn=close) as command:
        command.communicate(timeout=30)
    assert command.returncode == 0
    assert len(workspace.outputs()) == sim.ledger.billed() == FILES
