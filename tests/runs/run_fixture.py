"""A folder of inputs, a simulator and a toolkit to run over it."""

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from openai_parallel_toolkit import Gpt35Turbo, ParallelToolkit, request_openai_api


class RunFixture:
    """One folder with inputs, outputs and a config, and the server it points to."""

    def __init__(self, root: Path):
        self.root = root
        self.input = root / "in"
        self.output = root / "out"
        self.config = root / "config.json"
        self.input.mkdir()

    def inputs(self, count, text="text of file {n}: the quick brown fox"):
        for n in range(count):
            (self.input / f"f{n:04}.txt").write_text(text.format(n=n))
        return self

    def configure(self, sim, *names, **fields):
        keys = [{"key": f"sim-{name}", "name": name} for name in names or ("good",)]
        self.config.write_text(json.dumps({"api_keys": keys, "api_base": sim.url, **fields}))
        os.chmod(self.config, 0o600)
        return self

    def toolkit(self, kind=None, **settings):
        settings.setdefault("progress", False)
        settings.setdefault("num_threads", 8)
        return (kind or Ask)(self.config, self.input, self.output, **settings)

    def run(self, kind=None, **settings):
        return self.toolkit(kind, **settings).run()

    def signatures(self):
        """What the journal keeps of every input's looks, by its name."""
        journal = self.output / ".openai_parallel_toolkit" / "journal.sqlite3"
        with closing(sqlite3.connect(journal)) as db:
            rows = db.execute("SELECT name, input_signature FROM files")
            return {name.decode(): signature for name, signature in rows}

    def outputs(self):
        """Every visible output by its relative path."""
        return {
            str(path.relative_to(self.output)): path.read_bytes()
            for path in sorted(self.output.rglob("*"))
            if path.is_file() and ".openai_parallel_toolkit" not in path.parts
        }


class Ask(ParallelToolkit):
    """Asks one question a file."""

    CALLS = 1

    def process_input(self, file):
        return file.read()

    def process_data(self, data):
        asks = (Gpt35Turbo(content=f"{n}: {data}") for n in range(self.CALLS))
        return [request_openai_api(ask) for ask in asks]

    def process_output(self, data, output_file_without_ext):
        with open(output_file_without_ext + ".json", "w") as out:
            json.dump(data, out)


class AskThrice(Ask):
    CALLS = 3
