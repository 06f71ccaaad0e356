"""The N-th file operation of a run fails, for every N: it says so, and a rerun loses nothing.

A shim in C makes the system's own operations fail, SQLite's as well; without a compiler there are
only those of Python. With --full every N is tried for `run`, every fifth for the others; else a few
that are spread over the run.
"""

import errno
import itertools
import json
import os
import re
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
STATES = {".openai_parallel_toolkit", "answers.jsonl.state"}
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
#: Of which every operation is made to fail with --full, and of which every fifth.
JOBS = {"run": 1, "prompts": 5, "batch": 5, "batch folder": 5}
READING = {name: [name] for name in ("status", "failures", "prune", "repair")}
_BEYOND = 1_000_000


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

    def _command(self, job, folder):
        if job in READING:
            return [*READING[job], folder / "out"]
        if job == "batch folder":
            places = [folder / "in" / "batches", folder / "out", folder / "errors"]
            return ["batch", *places, "--config", self._config, "--no-progress"]
        if job == "prompts":
            words = [folder / "in" / "lines.jsonl", folder / "out" / "answers.jsonl"]
            options = ["--max-workers", THREADS, "--config", self._config, "--no-progress"]
            return ["prompts", *words, "--model", "gpt-3.5-turbo", *options]
        words = [HERE / "failing_hooks.py", folder / "in", folder / "out"]
        mode = "batch" if job == "batch" else "live"
        options = ["--pattern", "*.txt", "--config", self._config, "--no-progress"]
        return ["run", *words, "--threads", THREADS, "--mode", mode, *options]

    def run(self, job, folder, at=0, fault=(0, 0, 0)):
        """Run the command; return its exit status and how many operations it counted."""
        number, kinds, times = fault
        asked = {
            "argv": list(map(str, self._command(job, folder))),
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

    def problems(self, job, at, fault):
        """Make one operation fail, and run again; return whether one did, and what was wrong."""
        folder = self._root / f"at-{at}"
        write_inputs(folder, at)
        before = self._sim.ledger.billed()
        status, counted = self.run(job, folder, at, fault)
        words = self.log.read_text()
        wrong = [f"status {status}"] if status not in (0, 1, 2, 3, 5) else []
        wrong += ["a traceback"] if "Traceback" in words else []
        again, _ = self.run(job, folder)
        if again == 1:  # what the first one had counted as failed is tried again
            again, _ = self.run(job, folder)
        wrong += [f"then status {again}: {self.log.read_text()}"] if again else []
        wrong += [f"outputs {names}"] if (names := outputs(folder)) != EXPECTED[job] else []
        excess = self._sim.ledger.billed() - before - CALLS
        wrong += [f"{excess} bought beyond need"] if not 0 <= excess <= doubt(folder) else []
        shutil.rmtree(folder)
        return counted >= at, [f"{one} ({words.strip()[-2000:]})" for one in wrong]

    def counted(self, job, fault):
        """Return how many operations there are that may fail."""
        folder = self._root / "counted"
        write_inputs(folder, 0)
        _, counted = self.run(job, folder, _BEYOND, fault)
        shutil.rmtree(folder)
        return counted


def write_inputs(folder, lap):
    (folder / "in").mkdir(parents=True)
    (folder / "out").mkdir()
    for n in range(FILES):
        (folder / "in" / f"{n}.txt").write_text(f"The file number {n} of lap {lap}.")
    (folder / "in" / "batches").mkdir()
    lines = (json.dumps(batch_line(n, lap)) for n in range(CALLS))
    (folder / "in" / "batches" / "lines.jsonl").write_text("\n".join(lines))
    prompts = (json.dumps({"prompt": f"Line {n} of lap {lap}."}) for n in range(CALLS))
    (folder / "in" / "lines.jsonl").write_text("\n".join(prompts))


def batch_line(n, lap):
    message = {"role": "user", "content": f"Line {n} of lap {lap}, in a batch."}
    return {
        "custom_id": f"line-{n}",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "gpt-3.5-turbo", "messages": [message]},
    }


OF_FOLDER = {"all.txt", *(f"{n}{end}" for n in range(FILES) for end in (".txt", "/part.md"))}
OF_BATCHES = {f"lines/lines{end}" for end in (".jsonl", "_output.jsonl", "_metadata.json")}
EXPECTED = {
    "run": OF_FOLDER,
    "batch": OF_FOLDER,
    "prompts": {"answers.jsonl"},
    "batch folder": OF_BATCHES,
}


def outputs(folder):
    """Names of the outputs that are there, and not empty; without times."""
    out = folder / "out"
    found = (path for path in out.rglob("*") if path.is_file() and not STATES & {*path.parts})
    names = (str(path.relative_to(out)) for path in found if path.stat().st_size)
    return {re.sub(r"_[-0-9T]+Z", "", name) for name in names}


def doubt(folder):
    """How many calls may have been paid for and not kept: at most those in flight."""
    state = next(path for name in STATES if (path := folder / "out" / name).exists())
    with JournalReader(str(state)) as reader:
        return min(THREADS, reader.status().totals.all_runs.unanswered)


@pytest.fixture(params=["Python's", "the system's"])
def failing(request, tmp_path):
    whose = request.param == "the system's"
    shim = request.getfixturevalue("shim") if whose else None
    with Simulator(seed=3, batch_seconds=0.0) as sim:
        failing = Failing(tmp_path, sim, shim)
        yield failing
        failing.close()


def few(failing):
    """Yield a case of each fault, each at another place of a run and in turn in another job."""
    jobs, counted = itertools.cycle(JOBS), {}
    for place, (name, fault) in enumerate(FAULTS.items(), 1):
        job, kinds = next(jobs), fault[1]
        if (job, kinds) not in counted:
            counted[job, kinds] = failing.counted(job, fault)
            assert counted[job, kinds] > 10
        yield job, name, [1 + counted[job, kinds] * place // (len(FAULTS) + 1)]


def every():
    for job, step in JOBS.items():
        for name in FAULTS:
            yield job, name, itertools.count(1, step)


@pytest.mark.crash
@pytest.mark.timeout(6 * 3600)
def test_whatever_fails_is_told_and_a_rerun_loses_nothing(request, failing):
    found = {}
    for job, name, places in every() if request.config.getoption("--full") else few(failing):
        for at in places:
            has_failed, found[job, name, at] = failing.problems(job, at, FAULTS[name])
            if not has_failed:
                break
    wrong = [f"{case}: {why}" for case, whys in found.items() for why in whys]
    assert not wrong, "\n".join(wrong)


@pytest.mark.crash
@pytest.mark.timeout(3600)
def test_commands_that_look_at_a_run_tell_what_fails(request, failing, tmp_path):
    is_full = request.config.getoption("--full")
    folder, found = tmp_path / "folder", {}
    write_inputs(folder, 0)
    assert failing.run("run", folder)[0] == 0
    for command in READING:
        status, counted = failing.run(command, folder, _BEYOND, FAULTS["EIO once"])
        assert status == 0
        for at in range(1, counted + 1) if is_full else [counted // 2]:
            for name in ("EIO once", "EMFILE once"):
                status, _ = failing.run(command, folder, at, FAULTS[name])
                words = failing.log.read_text()
                if status not in (0, 5) or "Traceback" in words:
                    found[command, name, at] = f"status {status}: {words[-2000:]}"
    assert not found, "\n".join(f"{case}: {why}" for case, why in found.items())
    assert failing.run("status", folder)[0] == 0
