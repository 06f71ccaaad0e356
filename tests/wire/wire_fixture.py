"""A folder with inputs and outputs, a simulator with a ledger, and what joins the two."""

import hashlib
import json
import os
import time
from decimal import Decimal
from pathlib import Path

from openai_parallel_toolkit import Gpt35Turbo, ParallelToolkit, request_openai_api
from openai_parallel_toolkit.calls.models import request_of
from openai_parallel_toolkit.journal import JournalReader
from openai_parallel_toolkit.simulator import SimKey, Simulator

MODEL = "gpt-3.5-turbo"
#: USD per million tokens.
PRICES = {MODEL: {"input": 0.5, "output": 1.5}}
STATE = ".openai_parallel_toolkit"


class Ask(ParallelToolkit):
    """Asks one question a file and writes the answer."""

    def process_input(self, file):
        return file.read()

    def process_data(self, data):
        return request_openai_api(question(data))

    def process_output(self, data, output_file_without_ext):
        with open(output_file_without_ext + ".json", "w") as out:
            json.dump(data, out)


def question(content):
    return Gpt35Turbo(content=content)


def payload_of(content):
    """What the ledger calls the body that asks `content`."""
    return hashlib.sha256(request_of(question(content)).body).hexdigest()


class WireFixture:
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
        return self._stack.enter_context(Simulator(given, seed=seed, **settings))

    def inputs(self, count):
        for n in range(count):
            (self.input / f"f{n:03}.txt").write_text(f"text of file {n}: the quick brown fox")
        return self

    def configure(self, sim, **fields):
        keys = [{"key": key.secret, "name": key.name} for key in sim.keys]
        return self.configure_at(sim.url, keys, **fields)

    def configure_at(self, url, keys, **fields):
        fields.setdefault("prices", PRICES)
        self.config.write_text(json.dumps({"api_keys": keys, "api_base": url, **fields}))
        os.chmod(self.config, 0o600)
        return self

    def toolkit(self, kind=Ask, **settings):
        settings.setdefault("progress", False)
        settings.setdefault("fail_on_error", False)
        settings.setdefault("num_threads", 8)
        return kind(self.config, self.input, self.output, **settings)

    def run(self, kind=Ask, **settings):
        return self.toolkit(kind, **settings).run()

    def outputs(self):
        """Every visible output by its relative path."""
        return {
            str(path.relative_to(self.output)): path.read_bytes()
            for path in sorted(self.output.rglob("*"))
            if path.is_file() and STATE not in path.parts
        }

    def failures(self, summary):
        """The lines of a run's failures file."""
        if not summary.failures_path:
            return []
        return [json.loads(line) for line in Path(summary.failures_path).read_text().splitlines()]

    def journal(self):
        return JournalReader(str(self.state))


def cost_of(rows):
    """What the answers of ledger rows cost, USD, by PRICES."""
    prompt = sum(row.prompt_tokens for row in rows)
    completion = sum(row.completion_tokens for row in rows)
    price = PRICES[MODEL]
    total = prompt * Decimal(str(price["input"])) + completion * Decimal(str(price["output"]))
    return total / 1_000_000


def check_books(fixture, sim, summary, *, unusable=()):
    """The summary, the journal and the provider's ledger tell one story, to the call.

    `unusable` names the faults whose answers are billed and of no use.
    """
    rows, calls = sim.ledger.rows(), summary.calls
    billed = [row for row in rows if row.billed]
    good = [row for row in billed if row.fault not in unusable]
    assert calls.sent == len(rows)
    assert calls.answered == len(good)
    assert len(billed) <= calls.answered + calls.unknown
    assert calls.cost_usd == cost_of(good)
    assert calls.cost_usd <= cost_of(billed) <= calls.max_cost_usd
    assert calls.tokens == sum(row.prompt_tokens + row.completion_tokens for row in good)
    sent = {name: figures.sent for name, figures in calls.by_key.items()}
    assert sent == {key.name: n for key in sim.keys if (n := sim.ledger.hits(key.name))}
    with fixture.journal() as journal:
        kept = journal.status().totals.this_run
    assert (kept.sent, kept.answered, kept.unknown) == (calls.sent, calls.answered, calls.unknown)
    assert (kept.unanswered, kept.cost_usd) == (0, calls.cost_usd)
    assert kept.max_cost_usd == calls.max_cost_usd


def until(is_so, within_s=30.0):
    """Wait for what other threads do."""
    limit_s = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < limit_s, "it did not happen"
        time.sleep(0.005)
