"""A folder with a file of prompts, a simulator that is asked, and what joins the two."""

import json
import os
import subprocess
import time
from pathlib import Path

from forked_process import ForkedProcess

from openai_parallel_toolkit import APIKeyManager
from openai_parallel_toolkit.api.prompts import Defaults, PromptsOptions, PromptsRun
from openai_parallel_toolkit.journal import JournalReader
from openai_parallel_toolkit.simulator import SimKey, Simulator

REPOSITORY = Path(__file__).parents[2]
MODEL = "gpt-4o-mini"


class PromptFixture:
    """One test's folder."""

    def __init__(self, root, stack):
        self.root = root
        self.input = root / "in.jsonl"
        self.put_output(root)
        self.state = root / "out.jsonl.state"
        self._stack = stack

    def put_output(self, folder):
        """Have the output, and what stands beside it but the state, be in a folder."""
        self.output, self.errors = folder / "out.jsonl", folder / "out.errors.jsonl"
        self.partial = folder / "out.jsonl.partial"

    def simulate(self, *keys, seed=7, **settings):
        """Start a simulator that ends with the test."""
        given = [SimKey(key) if isinstance(key, str) else key for key in keys or ("good",)]
        sim = self._stack.enter_context(Simulator(given, seed=seed, **settings))
        config = {
            "api_keys": [f"sim-{key.name}" for key in given],
            "api_base": sim.url,
            # As listed; the list is not there on Python 3.10.
            "prices": {MODEL: {"input": 0.15, "output": 0.6}},
        }
        (self.root / "config.json").write_text(json.dumps(config))
        os.chmod(self.root / "config.json", 0o600)
        return sim

    def write(self, *lines):
        """Write the input; what is no text becomes JSON."""
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        self.input.write_text("".join(f"{text}\n" for text in texts))
        return self

    def numbers(self, count):
        return self.write(*({"id": n, "prompt": f"number {n}, please"} for n in range(count)))

    def run(self, *, transport=None, system=None, model=MODEL, path=None, **settings):
        """Work on the input in this process."""
        keys = APIKeyManager(config_path=self.root / "config.json")
        options = PromptsOptions(
            input_path=str(self.input),
            output_path=str(self.output),
            defaults=Defaults(model=model, system=system, path=path),
            progress=False,
            **{"fail_on_error": False, **settings},
        )
        try:
            return PromptsRun(options, keys, transport=transport).run()
        finally:
            keys.close()

    def start(self, *more, given=None, env=None):
        """Start the command in a process of its own."""
        names = given or ("in.jsonl", "out.jsonl", "--model", MODEL, "--no-progress")
        return ForkedProcess(
            ["-m", "openai_parallel_toolkit", "prompts", *names, *more],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def give(self, *more, **options):
        """Carry the command out; return exit status, standard output and standard error."""
        process = self.start(*more, **options)
        out, err = process.communicate(timeout=50)
        return process.returncode, out, err

    def lines(self, path=None):
        return [json.loads(line) for line in (path or self.output).read_text().splitlines()]

    def figures(self):
        with JournalReader(str(self.state)) as reader:
            return reader.status().totals.all_runs


def until(is_so, within_s=40.0):
    """Wait for what others do."""
    limit_s = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < limit_s, "it did not happen"
        time.sleep(0.01)
