"""A folder of inputs, simulators, keys and hooks: what tests of calls and of the door share."""

import contextlib
import json
import os

from openai_parallel_toolkit import APIKeyManager, ParallelToolkit
from openai_parallel_toolkit.simulator import SimKey, Simulator

STATE = ".openai_parallel_toolkit"


class ToolkitFixture:
    """One test's folder; what it starts ends with it."""

    def __init__(self, root, stack):
        self.root = root
        self._stack = stack
        self.input, self.output, self.config = root / "in", root / "out", root / "config.json"
        self.input.mkdir()

    def simulate(self, *names, **settings):
        keys = [SimKey(name) if isinstance(name, str) else name for name in names or ("good",)]
        settings.setdefault("seed", 7)
        return self._stack.enter_context(Simulator(keys, **settings))

    def keys(self, sim):
        given = [{"key": k.secret, "name": k.name, "api_base": sim.url} for k in sim.keys]
        return self._stack.enter_context(contextlib.closing(APIKeyManager(given)))

    def configure(self, sim):
        keys = [{"key": key.secret, "name": key.name} for key in sim.keys]
        self.config.write_text(json.dumps({"api_keys": keys, "api_base": sim.url}))
        os.chmod(self.config, 0o600)
        return self

    def inputs(self, count):
        for n in range(count):
            (self.input / f"f{n:03}.txt").write_text(f"text of file {n}")
        return self

    def run(self, kind, **settings):
        settings = {"progress": False, "fail_on_error": False, "num_threads": 4, **settings}
        return kind(self.config, self.input, self.output, **settings).run()

    def outputs(self):
        return {path.name: json.loads(path.read_text()) for path in self.output.glob("*.json")}

    def failures(self):
        path = self.output / STATE / "failures.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]


@contextlib.contextmanager
def openai_as_found():
    """Put the openai package back as it was when the block ends."""
    import openai

    before = {name: getattr(openai, name) for name in ("api_key", "max_retries", "base_url")}
    try:
        yield openai
    finally:
        if openai.http_client is not None:
            openai.http_client.close()
        openai.http_client = None
        for name, value in before.items():
            setattr(openai, name, value)
        openai._reset_client()


class Hooks(ParallelToolkit):
    """Reads a text and writes JSON."""

    def process_input(self, file):
        return file.read()

    def process_data(self, data):
        raise NotImplementedError

    def process_output(self, data, output_file_without_ext):
        with open(output_file_without_ext + ".json", "w") as out:
            json.dump(data, out)
