"""A folder of inputs, keys for a server, and hooks."""

import contextlib
import json

from openai_parallel_toolkit import APIKeyManager, ChatModel, ParallelToolkit, request_openai_api

STATE = ".openai_parallel_toolkit"


class Hooks(ParallelToolkit):
    """Asks one question a file."""

    def process_input(self, file):
        return file.read()

    def process_data(self, data):
        return request_openai_api(ChatModel("gpt-4o-mini", content=data, max_tokens=50))

    def process_output(self, data, output_file_without_ext):
        with open(output_file_without_ext + ".json", "w") as out:
            json.dump(data, out)


class InteropFixture:
    """One test's folder; the keys that it hands out are closed when the test ends."""

    def __init__(self, root, stack):
        self.input, self.output = root / "in", root / "out"
        self.input.mkdir()
        self._stack = stack

    def inputs(self, count):
        for n in range(count):
            (self.input / f"f{n:03}.txt").write_text(f"text of file {n:03}")

    def keys(self, url, *given):
        """Return keys for a server: texts, or what a config has."""
        keys = [{"key": key} if isinstance(key, str) else key for key in given]
        manager = APIKeyManager([{"api_base": url, **key} for key in keys])
        return self._stack.enter_context(contextlib.closing(manager))

    def run(self, keys, kind=Hooks, **settings):
        settings = {"progress": False, "fail_on_error": False, "num_threads": 8, **settings}
        return kind(None, self.input, self.output, key_manager=keys, **settings).run()

    def outputs(self):
        paths = sorted(self.output.glob("*.json"))
        return {path.name: json.loads(path.read_text()) for path in paths}

    def clear_outputs(self):
        for path in self.output.glob("*.json"):
            path.unlink()

    def failures(self):
        path = self.output / STATE / "failures.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]
