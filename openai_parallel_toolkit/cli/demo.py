"""`demo`: the toolkit at work on this machine, with a simulated server that keeps a bill."""

from __future__ import annotations

import argparse
import os
import shlex

from ..simulator import Latency, SimKey, Simulator
from . import console
from .bill import bill_words
from .demo_folder import Stage, set_up
from .load import load_toolkit
from .run import see_through

_FOLDER = "openai-parallel-toolkit-demo"
_SEED = 7
_FILES, _FILES_FAST = 60, 12
_LATENCY = Latency(0.8, 0.5)
_THREADS = 16


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--folder", default=_FOLDER, metavar="DIR", help="where to set it up (./%(default)s)"
    )
    parser.add_argument("--fast", action="store_true", help="fewer files, no waiting")


def run(arguments: argparse.Namespace) -> int:
    """Set the folder up, run its subclass over it, and compare the summary with the bill."""
    is_fast = arguments.fast
    with Simulator(_keys(), seed=_SEED, latency=0.0 if is_fast else _LATENCY) as simulator:
        stage = set_up(
            arguments.folder,
            file_count=_FILES_FAST if is_fast else _FILES,
            config=_config(simulator),
        )
        kind = load_toolkit(stage.hooks)
        toolkit = kind(stage.config, stage.input, stage.output, num_threads=_THREADS, name="Demo")
        console.say(_welcome(stage))
        try:
            return see_through(toolkit)
        finally:
            console.say(f"{bill_words(simulator.ledger)}\n{_what_next(stage)}")


def _keys() -> list[SimKey]:
    return [
        SimKey("good", rpm=1200, burst=40),
        SimKey("slow", rpm=120, burst=10),
        SimKey("exhausted", quota="none"),
    ]


def _config(simulator: Simulator) -> dict[str, object]:
    return {
        "api_base": simulator.url,
        "api_keys": [{"name": key.name, "key": key.secret} for key in simulator.keys],
        "prices": {"gpt-3.5-turbo": {"input": 0.5, "output": 1.5}},
    }


def _welcome(stage: Stage) -> str:
    count = len(os.listdir(stage.input))
    return (
        f"{count} texts, two questions about each, on a simulated server with three keys: one "
        "good, one slow, one whose quota is used up.\n"
        f"The hooks are in {stage.hooks}; no real key is used and nothing is paid.\n"
    )


def _what_next(stage: Stage) -> str:
    again = "openai-parallel-toolkit demo"
    if stage.folder != _FOLDER:
        again += f" --folder {shlex.quote(stage.folder)}"
    output = shlex.quote(stage.output)
    first = min(os.listdir(stage.input))
    return f"""
Look at
  {stage.output}    the results
  openai-parallel-toolkit status {output}
  openai-parallel-toolkit show {output} {shlex.quote(first)}
Try
  {again}    again: all is skipped, nothing is billed
  deleting some outputs, then again: they come back from the journal, nothing is billed
  changing a question in {stage.hooks}, then again: it tells what that would ask
  adding a text to {stage.input}, then again: only that one is billed
  another --folder, and Ctrl-C half way, then again: only the rest is billed"""
