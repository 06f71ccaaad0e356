"""The N-th file operation of a run fails, for every N: it says so, and a rerun loses nothing.

A shim in C makes the system's own operations fail, SQLite's as well; without a compiler there are
only those of Python. With --full every N is tried, else a few that are spread over the run.
"""

import errno
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from failing_child import OPENS, READS, WRITES

from openai_parallel_toolkit.journal import JournalReader
from openai_parallel_toolkit.simulator import Simulator

HERE = Path(__file__).parent
FILES, CALLS, THREADS = 4, 8, 2
STATE = ".openai_parallel_toolkit"
#: What fails, and whether it does so once or for good.
FAULTS = {
    "EIO once": (errno.EIO, READS | WRITES, 1),
    "EIO for good": (errno.EIO, READS | WRITES, 0),
    "ENOSPC once": (errno.ENOSPC, WRITES, 1),
    "ENOSPC for good": (errno.ENOSPC, WRITES, 0),
    "EROFS for good": (errno.EROFS, WRITES, 0),
    "EMFILE once": (errno.EMFILE, OPENS, 1),
    "EMFILE for good": (errno.EMFILE, OPENS, 0),
}
#: In the quick form, about so many operations of a run are made to fail.
QUICK = {"python": 3, "system": 6}


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("there is no C compiler, or no Linux")
    path = tmp_path_factory.mktemp("shim") / "failing_files.so"
    source = HERE / "failing_files.c"
    command = [compiler, "-shared", "-fPIC", "-o", str(path), str(source), "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return path


class Failing:
    """A process that runs the command in forks, and the folders and the bill of these runs."""

    def __init__(self, root, sim, shim=None):
        self._root, self._sim = root, sim
        self._config = root / "config.json"
        prices = {"gpt-3.5-turbo": {"input": 0.5, "output": 1.5}}
        keys = {"api_keys": ["sim-test"], "api_base": sim.url, "prices": prices}
        self._config.write_text(json.dumps(keys))
        self._config.chmod(0o600)
        self.log = root / "log"
        self._child = subprocess.Popen(
            [sys.executable, str(HERE / "failing_child.py"), *([str(shim)] if shim else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **({"LD_PRELOAD": str(shim)} if shim else {})},
        )

    def close(self):
        self._child.stdin.close()
        self._child.wait(20)
        self._child.stdout.close()

    def run(self, folder, at=0, fault=(0, 0, 0)):
        """Run the command; return its exit status and how many operations it counted."""
        hooks = HERE / "failing_hooks.py"
        options = ["--config", str(self._config), "--threads", str(THREADS), "--no-progress"]
        number, kinds, times = fault
        asked = {
            "argv": ["run", str(hooks), str(folder / "in"), str(folder / "out"), *options],
            "folder": str(folder),
            "at": at,
            "times": times,
            "errno": number,
            "kinds": kinds,
            "log": str(self.log),
        }
        self._child.stdin.write(json.dumps(asked).encode() + b"\n")
        self._child.stdin.flush()
        told = json.loads(self._child.stdout.readline())
        return told["status"], told["counted"]

    def problems(self, at, fault):
        """Make one operation fail, and run again; return whether one did, and what was wrong."""
        folder = self._root / f"at-{at}"
        (folder / "in").mkdir(parents=True)
        for n in range(FILES):
            (folder / "in" / f"{n}.txt").write_text(f"The file number {n} of lap {at}.")
        before = self._sim.ledger.billed()
        status, counted = self.run(folder, at, fault)
        words = self.log.read_text()
        wrong = [f"status {status}"] if status not in (0, 1, 2, 3, 5) else []
        wrong += ["a traceback"] if "Traceback" in words else []
        again, _ = self.run(folder)
        if again == 1:  # what the first one had counted as failed is tried again
            again, _ = self.run(folder)
        wrong += [f"then status {again}: {self.log.read_text()}"] if again else []
        wrong += [] if outputs(folder) == EXPECTED else [f"outputs {sorted(outputs(folder))}"]
        excess = self._sim.ledger.billed() - before - CALLS
        wrong += [f"{excess} bought beyond need"] if not 0 <= excess <= doubt(folder) else []
        shutil.rmtree(folder)
        return counted >= at, [f"{one} ({words.strip()[-2000:]})" for one in wrong]


EXPECTED = {"all.txt", *(f"{n}{end}" for n in range(FILES) for end in (".txt", "/part.md"))}


def outputs(folder):
    """Names of the outputs that are there, and not empty."""
    out = folder / "out"
    found = (path for path in out.rglob("*") if path.is_file() and STATE not in path.parts)
    return {str(path.relative_to(out)) for path in found if path.stat().st_size}


def doubt(folder):
    """How many calls may have been paid for and not kept: at most those in flight."""
    with JournalReader(str(folder / "out" / STATE)) as reader:
        return min(THREADS, reader.status().totals.all_runs.unanswered)


def sweep(failing, fault, ats):
    found = {}
    for at in ats:
        has_failed, wrong = failing.problems(at, fault)
        if not has_failed:
            return found, at
        if wrong:
            found[at] = wrong
    return found, None


@pytest.mark.crash
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("whose", QUICK)
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_fails_is_told_and_a_rerun_loses_nothing(tmp_path, request, whose, fault):
    shim = request.getfixturevalue("shim") if whose == "system" else None
    with Simulator(seed=3) as sim:
        failing = Failing(tmp_path, sim, shim)
        try:
            if request.config.getoption("--full"):
                found, end = sweep(failing, FAULTS[fault], itertools.count(1))
                assert end > 20
            else:
                found, _ = sweep(failing, FAULTS[fault], itertools.count(1))
        finally:
            failing.close()
    assert not found, "\n".join(f"at {at}: {why}" for at, whys in found.items() for why in whys)
