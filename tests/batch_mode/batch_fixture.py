"""A folder with inputs and outputs, a simulator with a Batch API, and what joins the two."""

import contextlib
import json
import os
import subprocess
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path

from forked_process import ForkedProcess

from openai_parallel_toolkit import BatchOptions, Gpt35Turbo, ParallelToolkit, request_openai_api
from openai_parallel_toolkit.journal import JournalReader
from openai_parallel_toolkit.simulator import SimKey, Simulator

MODEL = "gpt-3.5-turbo"
#: USD per million tokens, live.
PRICES = {MODEL: {"input": 0.5, "output": 1.5}}
STATE = ".openai_parallel_toolkit"
QUICK = {"poll_s": 0.02, "longest_poll_s": 0.1, "listed_within_s": 0.1, "believed_s": 2}


class Ask(ParallelToolkit):
    """Asks one question a file and writes the answer."""

    def process_input(self, file):
        return file.read()

    def process_data(self, data):
        return request_openai_api(question(data))

    def process_output(self, data, output_file_without_ext):
        with open(output_file_without_ext + ".json", "w") as out:
            json.dump(data, out)


class Chain(Ask):
    """Asks three questions a file, each of which needs the answer before."""

    steps = 3

    def process_data(self, data):
        answer = ""
        for step in range(self.steps):
            answer = request_openai_api(question(f"step {step} of {data}: {answer}"))
        return answer


class Twice(Chain):
    steps = 2


def question(content):
    return Gpt35Turbo(content=content)


class RunFixture:
    """One test's folder."""

    def __init__(self, root: Path, stack):
        self.root = root
        self.input = root / "in"
        self.output = root / "out"
        self.state = self.output / STATE
        self.config = root / "config.json"
        self._stack = stack
        self.input.mkdir()

    def simulate(self, *keys, seed=7, **settings):
        """Start a simulator that ends with the test."""
        given = [SimKey(key) if isinstance(key, str) else key for key in keys or ("good",)]
        settings.setdefault("batch_seconds", 0.05)
        return self._stack.enter_context(Simulator(given, seed=seed, **settings))

    def inputs(self, count):
        for n in range(count):
            (self.input / f"f{n:03}.txt").write_text(f"text of file {n}: the quick brown fox")
        return self

    def configure(self, sim, **fields):
        keys = [key_fields(key) for key in sim.keys]
        return self.configure_at(sim.url, keys, **fields)

    def configure_at(self, url, keys, **fields):
        fields.setdefault("prices", PRICES)
        self.config.write_text(json.dumps({"api_keys": keys, "api_base": url, **fields}))
        os.chmod(self.config, 0o600)
        return self

    def toolkit(self, kind=Ask, *, batch=None, output=None, **settings):
        given = {"progress": False, "fail_on_error": False, "num_threads": 8, "mode": "batch"}
        for name, value in given.items():
            settings.setdefault(name, value)
        options = BatchOptions(**{**QUICK, **(batch or {})})
        return kind(self.config, self.input, output or self.output, batch=options, **settings)

    def run(self, kind=Ask, **settings):
        return self.toolkit(kind, **settings).run()

    def live_outputs(self, kind=Ask, **settings):
        """What the same hooks write in live mode, from a simulator of their own."""
        config = self.config.read_text() if self.config.exists() else None
        with Simulator([SimKey("live")], seed=7) as sim:
            self.configure(sim)
            summary = self.run(kind, mode="live", output=self.root / "live", **settings)
        assert (summary.failed, summary.left) == (0, 0)
        if config is not None:
            self.config.write_text(config)
        return visible(self.root / "live")

    def outputs(self):
        """Every visible output by its relative path."""
        return visible(self.output)

    def failures(self):
        """The lines of the last run's failures file."""
        path = self.state / "failures.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def journal(self):
        return JournalReader(str(self.state))


@contextlib.contextmanager
def start(fixture, kind=Ask, *, max_lines=50_000, place=""):
    """Run the fixture's folder in a process of its own, which does not outlive the block.

    `place` is where it kills itself; "": nowhere.
    """
    child = Path(__file__).with_name("batch_child.py")
    folder = [fixture.config, fixture.input, fixture.output]
    command = [child, *folder, kind.__name__, max_lines, place]
    given = {**os.environ, "PYTHONPATH": str(child.parents[2])}
    pipe = subprocess.PIPE
    process = ForkedProcess(command, env=given, stdout=pipe, stderr=pipe)
    with process:
        try:
            yield process
        finally:
            process.kill()


def key_fields(key, **more):
    fields = {"key": key.secret, "name": key.name, "enqueued_tokens": key.enqueued_tokens, **more}
    return {name: value for name, value in fields.items() if value is not None}


def visible(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and STATE not in path.parts
    }


def lines_of(sim):
    """The ledger's rows of lines of batches."""
    return [row for row in sim.ledger.rows() if row.batch]


def live_calls(sim):
    """The ledger's rows of calls that were sent by themselves."""
    return [row for row in sim.ledger.rows() if row.path.endswith("/chat/completions")]


def billed_twice(sim):
    """Bodies that were billed more than once."""
    bills = Counter(row.payload for row in sim.ledger.rows() if row.billed)
    return {payload: count for payload, count in bills.items() if count > 1}


def cost_of(rows):
    """What the answers of billed rows cost, USD, by PRICES; lines of batches cost half."""
    price = PRICES[MODEL]
    total = Decimal(0)
    for row in rows:
        live = row.prompt_tokens * Decimal(str(price["input"]))
        live += row.completion_tokens * Decimal(str(price["output"]))
        total += live / 2 if row.batch else live
    return total / 1_000_000


def until(is_so, within_s=40.0):
    """Wait for what other threads do."""
    limit_s = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < limit_s, "it did not happen"
        time.sleep(0.005)
