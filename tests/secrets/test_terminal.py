"""What others say and how things are named steers no terminal, and writes no lines of its own."""

import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from echo_fixture import REPOSITORY
from echo_server import ANSWERS, QUIET

#: Of the bar: back to the beginning of the line, and one line up.
OURS = re.compile(r"\r|\n|\x1b\[A")


def record(*command, cwd):
    """Run a command on a terminal and return all that it writes there."""
    screen, side = pty.openpty()
    termios.tcsetwinsize(side, (24, 100)) if hasattr(termios, "tcsetwinsize") else None
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(cwd), *sys.path]),
        "TERM": "xterm",
    }
    with subprocess.Popen(command, cwd=cwd, env=env, stdin=side, stdout=side, stderr=side) as child:
        os.close(side)
        said = b""
        try:
            while piece := os.read(screen, 65_536):
                said += piece
        except OSError:  # the other side is closed
            pass
        child.wait(60)
    os.close(screen)
    return said.decode(errors="surrogateescape")


@pytest.mark.parametrize("how", ["script", "commands"])
def test_no_control_character_but_our_own_reaches_the_terminal(place, how):
    files = [
        f"{scenario}-\x1b[2J\u202e\n2026-11-27 00:00:00 ERROR forged.txt"
        for scenario in (*QUIET, *ANSWERS)
    ]
    for file in files:
        place.write(f"in/{file}", f"how={file.partition('-')[0]} spell=hostile")
    place.write("in/raise.txt", "raise")
    place.write("p.txt", "how=broken spell=hostile\nhow=ended spell=hostile\n")
    place.configure("live.config", "echo")
    child = Path(__file__).with_name("terminal_child.py")
    said = record(sys.executable, child, how, *files[:3], "raise.txt", cwd=place.root)
    assert said.count("forged") > 10
    rest = OURS.sub("", said)
    strange = {
        (rest[max(0, m.start() - 60) : m.end() + 20])
        for m in re.finditer(r"[^ -~\xa0-\uffff]|[\u200e-\u202f\u2066-\u2069]", rest)
    }
    assert strange == set()
    assert [
        line for line in re.split(r"[\r\n]+", said) if line.startswith("2026-11-27 00:00:00")
    ] == []
    log = place.root / "run.log"
    if how == "commands":
        lines = log.read_text().split("\n")
        assert all(line.isprintable() for line in lines)
        assert not any(line.startswith("2026-11-27 00:00:00 ERROR") for line in lines)
        assert sum("forged" in line for line in lines) > 5
