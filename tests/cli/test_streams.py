"""Whoever was to read has gone, or was never there: the work is done all the same."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios

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


@pytest.mark.parametrize(("size", "columns"), [((0, 0), ""), ((0, 0), "200"), ((24, 0), "")])
def test_a_terminal_that_does_not_know_its_size_gets_a_bar_of_one_line(
    workspace, sim, size, columns
):
    """As `script` and some containers make them: size in rows and columns."""
    workspace.inputs(FILES).configure(sim)
    reading, writing = pty.openpty()
    fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    env = {"COLUMNS": columns} if columns else {}
    with workspace.start_run(stderr=writing, env=env) as command:
        os.close(writing)
        shown = b"".join(iter(lambda: read(reading), b""))
        command.communicate(timeout=30)
    os.close(reading)
    assert command.returncode == 0
    bars = [line for line in re.split(rb"[\r\n]+", shown) if b"%|" in line]
    assert bars, repr(shown)
    assert f"{FILES}/{FILES}".encode() in bars[-1]
    assert max(len(line.decode()) for line in bars) <= int(columns or 80)


def read(terminal):
    try:
        return os.read(terminal, 65_536)
    except OSError:  # nobody has its other end open
        return b""
