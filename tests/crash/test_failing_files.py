"""The N-th file operation of a command fails, for every N: it says so, and a rerun loses nothing.

A shim in C makes the system's own operations fail, SQLite's as well; without a compiler there are
only those of Python. With --full every N is tried, in each job with each fault, and a line tells
how many they were; else a few that are spread over the jobs.
"""

import contextlib
import errno
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from compiled_shim import compiled_shim
from failing_child import OPENS, READS, WRITES

from openai_parallel_toolkit.journal import JournalReader
from openai_parallel_toolkit.simulator import Simulator

HERE = Path(__file__).parent
FILES, CALLS, THREADS = 3, 6, 2
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
JOBS = ["run", "prompts", "batch", "batch folder"]
#: What looks at a run that is done, or tidies up after it.
LOOKS = ["status", "failures", "prune", "repair"]
#: Processes at a time with --full: while one waits, another works.
LANES = 4
_BEYOND = 1_000_000


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    return compiled_shim(HERE / "failing_files.c", tmp_path_factory.mktemp("shim"))


class Failing:
    """A process that runs commands in forks, and the folder and the bill of these runs."""

    def __init__(self, root, sim, shim=None):
        self._root, self._sim = root, sim
        self._config = root / "config.json"
        prices = {"gpt-3.5-turbo": {"input": 0.5, "output": 1.5}}
        keys = {"api_keys": ["sim-test"], "api_base": sim.url, "prices": prices}
        self._config.write_text(json.dumps(keys))
        self._config.chmod(0o600)
        self._log = root / "log"
        inherited = {
            k: v for k, v in os.environ.items() if not re.search("OPENAI|PROXY", k, re.IGNORECASE)
        }
        self._child = subprocess.Popen(
            [sys.executable, str(HERE / "failing_child.py"), *([str(shim)] if shim else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**inherited, **({"LD_PRELOAD": str(shim)} if shim else {})},
        )
        self._folder, self._done = root / "folder", root / "done"
        self._rehearse()

    def close(self):
        self._child.stdin.close()
        self._child.wait(20)
        self._child.stdout.close()

    def _ask(self, **asked):
        self._child.stdin.write(json.dumps(asked).encode() + b"\n")
        self._child.stdin.flush()
        return json.loads(self._child.stdout.readline())

    def _rehearse(self):
        """Have everything imported once, and keep a folder in which a run is done."""
        for job in [*reversed(JOBS), *LOOKS]:
            if job in JOBS:
                shutil.rmtree(self._folder, ignore_errors=True)
                write_inputs(self._folder, 0)
            told = self._ask(rehearse=self._command(job))
            assert told == {"status": 0, "threads": 1}, job
            if job == "run":
                shutil.copytree(self._folder, self._done)
        shutil.rmtree(self._folder)

    def _command(self, job):
        folder, options = self._folder, ["--config", self._config, "--no-progress"]
        run = [HERE / "failing_hooks.py", folder / "in", folder / "out", "--pattern", "*.txt"]
        run += ["--mode", "batch" if job == "batch" else "live", "--threads", THREADS, *options]
        lines = [folder / "in" / "lines.jsonl", folder / "out" / "answers.jsonl"]
        model = ["--model", "gpt-3.5-turbo"]
        places = [folder / "in" / "batches", folder / "out", folder / "errors"]
        words = {
            "run": ["run", *run],
            "batch": ["run", *run],
            "prompts": ["prompts", *lines, *model, "--max-workers", THREADS, *options],
            "batch folder": ["batch", *places, *options],
        }
        return list(map(str, words.get(job, [job, folder / "out"])))

    def _run(self, job, at=0, fault=(0, 0, 0)):
        """Run the command; return its exit status, its words and how many operations it counted."""
        number, kinds, times = fault
        told = self._ask(
            argv=self._command(job),
            folder=str(self._folder),
            at=at,
            times=times,
            errno=number,
            kinds=kinds,
            log=str(self._log),
        )
        return told["status"], self._log.read_text(), told["counted"]

    @contextlib.contextmanager
    def _prepared(self, job, lap):
        if job in LOOKS:
            shutil.copytree(self._done, self._folder)
        else:
            write_inputs(self._folder, lap)
        try:
            yield self._folder
        finally:
            shutil.rmtree(self._folder)

    def problems(self, job, at, fault):
        """Make one operation fail, and run again; return whether one did, and what was wrong."""
        is_lasting = not fault[2]
        with self._prepared(job, at) as folder:
            before = self._sim.ledger.billed()
            status, words, counted = self._run(job, at, fault)
            wrong = [f"status {status}"] if status not in (0, 1, 5) else []
            wrong += ["a traceback"] if "Traceback" in words else []
            wrong += ["blames the journal"] if is_lasting and "is damaged" in words else []
            is_told = status != 5 or not is_lasting or os.strerror(fault[0]) in words
            wrong += [] if is_told else ["not the reason"]
            for again in dict.fromkeys([job, "run" if job in LOOKS else job]):
                wrong += self._problems_again(again)
            wrong += [f"outputs {seen}"] if (seen := outputs(folder)) != EXPECTED[job] else []
            excess = self._sim.ledger.billed() - before - (0 if job in LOOKS else CALLS)
            wrong += [f"{excess} bought beyond need"] if not 0 <= excess <= doubt(folder) else []
        return counted >= at, [f"{one} ({words.strip()[-2000:]})" for one in wrong]

    def _problems_again(self, job):
        status, words, _ = self._run(job)
        if status == 1:  # what the first one had counted as failed is tried again
            status, words, _ = self._run(job)
        return [f"then {job} ends with {status}: {words}"] if status else []

    def counted(self, job, fault):
        """Return how many operations there are that may fail."""
        with self._prepared(job, 0):
            return self._run(job, _BEYOND, fault)[2]


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
    **dict.fromkeys(["run", "batch", *LOOKS], OF_FOLDER),
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


@contextlib.contextmanager
def lane(shim):
    memory = "/dev/shm"
    place = memory if os.path.isdir(memory) else None
    with (
        tempfile.TemporaryDirectory(dir=place) as root,
        Simulator(seed=3, batch_seconds=0.0) as sim,
        contextlib.closing(Failing(Path(root), sim, shim)) as failing,
    ):
        yield failing


@pytest.fixture(scope="module", params=["Python's", "the system's"])
def lanes(request):
    """Processes whose own operations fail, or those of the system."""
    whose = request.param == "the system's"
    shim = request.getfixturevalue("shim") if whose else None
    with contextlib.ExitStack() as made:
        count = LANES if request.config.getoption("--full") else 1
        yield [made.enter_context(lane(shim)) for _ in range(count)]


def every_place(lanes, job, fault):
    """Try each place, several at a time; return what was found, by place."""
    places, found = itertools.count(1), {}

    def go_on(failing):
        has_failed = True
        while has_failed:
            at = next(places)
            has_failed, found[job, at] = failing.problems(job, at, fault)
            if found[job, at]:
                print((job, at), *found[job, at], sep="\n", flush=True)

    with ThreadPoolExecutor(len(lanes)) as pool:
        list(pool.map(go_on, lanes))
    return found


def few_places(failing):
    """Try each fault, at another place of a run and in turn in another job; and each look."""
    counted, found = {}, {}
    turns = [(job, name) for job, name in zip(itertools.cycle(JOBS), FAULTS, strict=False)]
    turns += [(job, name) for job in LOOKS for name in ("EIO once", "EMFILE once")]
    for place, (job, name) in enumerate(turns):
        fault = FAULTS[name]
        if (job, fault[1]) not in counted:
            counted[job, fault[1]] = failing.counted(job, fault)
            assert counted[job, fault[1]] > 0
        at = 1 + counted[job, fault[1]] * (place % 7 + 1) // 8
        _, found[job, name, at] = failing.problems(job, at, fault)
    for job in ("run", "prompts"):  # before there is a journal
        _, found[job, "first", 1] = failing.problems(job, 1, FAULTS["EIO for good"])
    return found


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        every = [(job, fault) for job in [*JOBS, *LOOKS] for fault in FAULTS]
        cases = every if metafunc.config.getoption("--full") else [None]
        metafunc.parametrize("case", cases, ids=lambda one: "-".join(one) if one else "few")


@pytest.mark.crash
@pytest.mark.timeout(2 * 3600)
def test_whatever_fails_is_told_and_a_rerun_loses_nothing(lanes, case):
    begun_s = time.monotonic()
    if case:
        job, name = case
        found = every_place(lanes, job, FAULTS[name])
    else:
        found = few_places(*lanes)
    wrong = [f"{where}: {why}" for where, whys in found.items() for why in whys]
    took_s = time.monotonic() - begun_s
    print(f"{case or 'few'}: {len(found)} injections, {len(wrong)} problems, {took_s:.0f} s")
    assert not wrong, "\n".join(wrong)
