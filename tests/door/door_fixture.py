"""Simulators, keys, hooks and requests for tests of the door."""

import contextlib
import io
import json
import os

from openai_parallel_toolkit import APIKeyManager, ParallelToolkit
from openai_parallel_toolkit.simulator import SimKey, Simulator

STATE = ".openai_parallel_toolkit"
MODEL = "gpt-4o-mini"


class DoorFixture:
    """One test's folder; what it starts ends with it."""

    def __init__(self, root, stack):
        self.root = root
        self._stack = stack
        self.input, self.output, self.config = root / "in", root / "out", root / "config.json"
        self.input.mkdir()

    def simulate(self, *names, **settings):
        keys = [SimKey(name) if isinstance(name, str) else name for name in names or ("good",)]
        settings.setdefault("seed", 7)
        sim = self._stack.enter_context(Simulator(keys, **settings))
        given = [{"key": key.secret, "name": key.name} for key in sim.keys]
        self.config.write_text(json.dumps({"api_keys": given, "api_base": sim.url}))
        os.chmod(self.config, 0o600)
        return sim

    def keys(self):
        return self._stack.enter_context(contextlib.closing(APIKeyManager(config_path=self.config)))

    def inputs(self, count):
        for n in range(count):
            (self.input / f"f{n:03}.txt").write_text(f"text of file {n}")
        return self

    def run(self, kind, **settings):
        settings = {"progress": False, "fail_on_error": False, "num_threads": 4, **settings}
        return kind(self.config, self.input, self.output, **settings).run()

    def outputs(self):
        return {path.stem: json.loads(path.read_text()) for path in self.output.glob("*.json")}

    def failures(self):
        path = self.output / STATE / "failures.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]


class Hooks(ParallelToolkit):
    """Reads a text and writes JSON."""

    def process_input(self, file):
        return file.read()

    def process_output(self, data, output_file_without_ext):
        with open(output_file_without_ext + ".json", "w") as out:
            json.dump(data, out)


def user(text):
    return [{"role": "user", "content": text}]


def chat(client, text):
    reply = client.chat.completions.create(model=MODEL, messages=user(text))
    return reply.choices[0].message.content


def recording(text):
    return ("speech.wav", io.BytesIO(text.encode() * 100), "audio/wav")
