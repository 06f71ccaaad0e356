"""A file that kills the process is found and put aside; being killed from outside is no blame."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from forked_process import ForkedProcess
from wire_fixture import Ask

CHILD = Path(__file__).with_name("poison_child.py")


def start(fixture):
    command = [CHILD, fixture.config, fixture.input, fixture.output]
    pipe = subprocess.PIPE
    return ForkedProcess(command, stdout=pipe, stderr=pipe, text=True)


def run(fixture):
    """Run the child to whatever end it takes; return its status, its figures and what it said."""
    with start(fixture) as child:
        out, err = child.communicate(timeout=100)
    return child.returncode, json.loads(out) if out else None, err


def standings(fixture):
    with fixture.journal() as journal:
        return {state.value: n for state, n in journal.status().files.items() if n}


@pytest.mark.parametrize(
    ("poison", "expected"),
    # An answer that was gained before the death speaks for the file, once.
    [("poison at once", 2), ("poison after the answer", 3)],
)
def test_the_one_file_that_kills_the_process_is_put_aside_and_no_other(fixture, poison, expected):
    sim = fixture.simulate(latency=0.02)
    fixture.inputs(30).configure(sim)
    (fixture.input / "f013.txt").write_text(poison)
    deaths = 0
    while (ended := run(fixture))[0] == -signal.SIGKILL:
        deaths += 1
        assert deaths <= 3, "nobody is put aside"
    status, figures, said = ended
    assert deaths == expected
    assert status == 0, said
    assert "f013.txt is put aside" in said
    assert standings(fixture) == {"done": 29, "aside": 1}
    assert sorted(fixture.outputs()) == [f"f{n:03}.json" for n in range(30) if n != 13]
    assert figures["aside"] == 1
    # Its answer was kept each time: no death was paid for twice beyond what was in flight.
    assert sim.ledger.billed() <= 30 + 8 * deaths
    with fixture.journal() as journal:
        (failure,) = journal.failures()
        assert (failure.path, failure.note.kind) == ("f013.txt", "ProcessDied")
    (fixture.input / "f013.txt").write_text("an antidote")
    assert fixture.run(Ask, retry_failed=True).done == 1


def test_kills_from_outside_put_nothing_aside(fixture, request):
    """Killed again and again by whoever counts the requests, each time a little further on."""
    victim: list[subprocess.Popen] = []
    last = 0

    def kill(row):
        if row.ordinal == last:
            os.kill(victim[-1].pid, signal.SIGKILL)

    sim = fixture.simulate(latency=0.01, on_post=kill)
    fixture.inputs(40).configure(sim)
    deaths, most = 0, 12 if request.config.getoption("--full") else 5
    while True:
        last = sim.ledger.hits() + 4 if deaths < most else 0
        child = start(fixture)
        victim.append(child)
        with child:
            out, err = child.communicate(timeout=100)
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL, err
        deaths += 1
        assert "put aside" not in err
    assert deaths == most
    assert json.loads(out)["aside"] == 0
    assert standings(fixture) == {"done": 40}
    assert len(fixture.outputs()) == 40
    print(f"{deaths} deaths")
