"""Folders of batch files, their configuration, and a BatchFolder that looks often."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from openai_parallel_toolkit.api.batch_folder import BatchFolder, Pace
from openai_parallel_toolkit.api.batch_folder.status import job_statuses
from openai_parallel_toolkit.core.errors import JournalError
from openai_parallel_toolkit.journal import JournalReader
from openai_parallel_toolkit.simulator import Simulator

#: Looks often, so that tests need no patience.
QUICK = Pace(
    first_poll_s=0.02,
    longest_poll_s=0.1,
    first_limit_s=0.05,
    longest_limit_s=0.2,
    look_s=0.1,
    settle_s=0.05,
    listed_within_s=0.1,
    patience_s=3.0,
    grace_s=5.0,
)
MODEL = "gpt-4o-mini"
PRICES = {MODEL: {"input": 0.15, "output": 0.6}}


def a_line(custom_id, content="hello", *, model=MODEL, url="/v1/chat/completions", **more):
    """One request of a batch file, as text."""
    body = {"model": model, "messages": [{"role": "user", "content": content}], **more}
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": body})


class FolderFixture:
    """Three folders and a config below one path."""

    def __init__(self, root: Path, sim: Simulator, **key) -> None:
        self.root = root
        self.sim = sim
        self.input, self.output, self.error = (root / name for name in ("in", "out", "err"))
        self.input.mkdir(exist_ok=True)
        self.config = root / "config.json"
        self.give_keys(*[{"key": f"sim-{one.name}", "name": one.name, **key} for one in sim.keys])

    def give_keys(self, *keys, api_base=None):
        config = {"api_keys": list(keys), "api_base": api_base or self.sim.url, "prices": PRICES}
        self.config.write_text(json.dumps(config))
        self.config.chmod(0o600)

    def put(self, name, *lines):
        """Write an input; without lines, one of three good ones."""
        path = self.input / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = lines or tuple(a_line(f"{name}-{n}", f"{name} {n}") for n in range(3))
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    def folder(self, **settings):
        """A BatchFolder over the three folders."""
        settings = {"progress": False, "fail_on_error": False, "pace": QUICK, **settings}
        return BatchFolder(self.config, self.input, self.output, self.error, **settings)

    def run(self, **settings):
        return self.folder(**settings).run()

    # -- what is there afterwards --------------------------------------------------------------

    def results(self, name, kind="output"):
        """The lines of an input's output or error file, by custom_id."""
        place = self.output if kind == "output" else self.error
        stem = Path(name).stem
        [path] = (place / Path(name).parent).glob(f"{stem}_2*/{stem}_{kind}.jsonl")
        found = [json.loads(line) for line in path.read_text().splitlines()]
        return {line.get("custom_id", line.get("line")): line for line in found}

    def metadata(self, name, place=None):
        stem = Path(name).stem
        base = (place or self.output) / Path(name).parent
        [path] = base.glob(f"{stem}_2*/{stem}_metadata.json")
        return json.loads(path.read_text())

    def waiting(self):
        """Names of the inputs that are still in the input folder."""
        return sorted(str(p.relative_to(self.input)) for p in self.input.rglob("*.jsonl"))

    def kept(self):
        """What is left of the state of inputs."""
        state = self.output / ".openai_parallel_toolkit"
        return [*jobs_in(state), *(state / "batch_folder").iterdir()]

    def stages(self):
        """How far each input is that is under way."""
        state = self.output / ".openai_parallel_toolkit"
        with contextlib.suppress(JournalError):  # it is just being made
            return [job.stage for job in job_statuses(str(state))]
        return []


def jobs_in(state):
    with JournalReader(str(state)) as journal:
        return journal.jobs()
