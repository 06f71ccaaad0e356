"""A folder to give commands in, with hooks, inputs and a config, and a server to ask."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from forked_process import ForkedProcess

REPOSITORY = Path(__file__).parents[2]
HOOKS = """\
import json

from openai_parallel_toolkit import Gpt35Turbo, ParallelToolkit, request_openai_api


class Mine(ParallelToolkit):
    def process_input(self, file):
        return file.read()

    def process_data(self, data):
        return request_openai_api(Gpt35Turbo(content=data))

    def process_output(self, data, output_file_without_ext):
        print("a hook speaks")
        with open(output_file_without_ext + ".json", "w") as out:
            json.dump(data, out)
"""


class Workspace:
    """Runs the command line in processes of their own, in a folder of its own."""

    def __init__(self, root: Path):
        self.root = root
        self.state = root / "out" / ".openai_parallel_toolkit"
        self.write("hooks.py", HOOKS)
        (root / "in").mkdir()

    def write(self, name, text):
        (self.root / name).write_text(text)
        return self

    def inputs(self, count):
        for n in range(count):
            self.write(f"in/f{n:02}.txt", f"text of file {n}: the quick brown fox")
        return self

    def configure(self, sim, *names):
        keys = [{"key": f"sim-{name}", "name": name} for name in names or ("good",)]
        self.write("config.json", json.dumps({"api_keys": keys, "api_base": sim.url}))
        (self.root / "config.json").chmod(0o600)
        return self

    def start(self, *arguments, env=None, **options):
        """Start a command and do not wait for it."""
        given = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG"))}
        given |= {"PYTHONPATH": str(REPOSITORY), **(env or {})}
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        words = ["-m", "openai_parallel_toolkit", *map(str, arguments)]
        options |= {
            "cwd": self.root,
            "env": {**given, "PYTHONPATH": str(REPOSITORY), **(env or {})},
        }
        if env or "preexec_fn" in options:  # what an interpreter starts with
            return subprocess.Popen([sys.executable, *words], **options)
        return ForkedProcess(words, **options)

    def give(self, *arguments, env=None):
        """Carry a command out and return what came of it."""
        return Result(self.start(*arguments, env=env))

    def run(self, *more, env=None):
        return self.give("run", "hooks.py", "in", "out", *more, env=env)

    def start_run(self, *more, **options):
        return self.start("run", "hooks.py", "in", "out", *more, **options)

    def outputs(self):
        return sorted(path.name for path in (self.root / "out").glob("*.json"))


class Result:
    """How a command ended."""

    def __init__(self, process):
        out, err = process.communicate(timeout=60)
        self.code = process.returncode
        self.out, self.err = out.decode(), err.decode()

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def mistake(self):
        """The one line that tells what is wrong."""
        assert "Traceback" not in self.err
        assert self.err.count("\n") == 1, self.err
        assert self.err.startswith("openai-parallel-toolkit: error: ")
        return self.err


def until(is_so, within_s=40.0):
    """Wait for what another process does."""
    limit_s = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < limit_s, "it did not happen"
        time.sleep(0.02)
