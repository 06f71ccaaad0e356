"""`demo`: the toolkit at work on this machine, with a simulated server that keeps a bill.

The folder is set up once; what the user changed in it stays.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
from collections.abc import Iterator

from ..core.command_line import program
from ..core.errors import StorageError, UsageError
from ..core.filesystem import atomic_file
from ..simulator import Latency, SimKey, Simulator
from . import console
from .load import load_toolkit
from .run import see_through
from .simulate import bill_words

_FOLDER = "openai-parallel-toolkit-demo"
_SEED = 7
_FILES, _FILES_FAST = 60, 12
_LATENCY = Latency(0.8, 0.5)
_THREADS = 16
_PRICES = {"gpt-3.5-turbo": {"input": 0.5, "output": 1.5}}
_README = """\
A demo of openai-parallel-toolkit: it may be deleted at any time.

input/          texts to work on; add some of your own
my_toolkit.py   what happens to each of them; change it
config.json     the keys, and where to ask; written anew by each demo
output/         the results, and the journal of what was asked and paid for
"""
_WELCOME = """\
{count} texts, two questions about each, on a simulated server with three keys: one good, one \
slow, one whose quota is used up.
The hooks are in {hooks}; no real key is used and nothing is paid.
"""
_NEXT = """
Look at
  {output}    the results
  {program} status {quoted}
  {program} show {quoted} {first}
Try
  {again}    again: all is skipped, nothing is billed
  deleting some outputs, then again: they come back from the journal, nothing is billed
  changing a question in {hooks}, then again: it tells what that would ask
  adding a text to {input}, then again: only that one is billed
  another --folder, and Ctrl-C half way, then again: only the rest is billed"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--folder", default=_FOLDER, metavar="DIR", help="where to set it up (./%(default)s)"
    )
    parser.add_argument("--fast", action="store_true", help="fewer files, no waiting")


def run(arguments: argparse.Namespace) -> int:
    """Set the folder up, run its subclass over it, and compare the summary with the bill."""
    folder, is_fast = arguments.folder, arguments.fast
    names = ("my_toolkit.py", "config.json", "input", "output")
    hooks, config, input, output = (os.path.join(folder, name) for name in names)
    sim_keys = [
        SimKey("good", rpm=1200, burst=40),
        SimKey("slow", rpm=120, burst=10),
        SimKey("exhausted", quota="none"),
    ]
    with Simulator(sim_keys, seed=_SEED, latency=0.0 if is_fast else _LATENCY) as simulator:
        keys = [{"name": key.name, "key": key.secret} for key in simulator.keys]
        settings = {"api_base": simulator.url, "api_keys": keys, "prices": _PRICES}
        count = _FILES_FAST if is_fast else _FILES
        _set_up(folder, count, json.dumps(settings, indent=2))
        texts = os.listdir(input)
        toolkit = load_toolkit(hooks)(config, input, output, num_threads=_THREADS, name="Demo")
        console.say(_WELCOME.format(count=len(texts), hooks=hooks))
        try:
            return see_through(toolkit)
        finally:
            again = f"{program()} demo"
            if folder != _FOLDER:
                again += f" --folder {shlex.quote(folder)}"
            quoted, first = shlex.quote(output), shlex.quote(min(texts))
            places = {"hooks": hooks, "input": input, "output": output, "quoted": quoted}
            places["program"] = program()
            console.say(bill_words(simulator.ledger))
            console.say(_NEXT.format(again=again, first=first, **places))


def _set_up(folder: str, file_count: int, config: str) -> None:
    """Write what a demo needs and is not there yet; only the config is written anew."""
    try:
        os.makedirs(folder, exist_ok=True)
        if os.listdir(folder) and not os.path.exists(os.path.join(folder, "README.txt")):
            raise UsageError(
                f"{folder!r} is not empty and no demo made it; choose another --folder"
            )
        os.makedirs(os.path.join(folder, "input"), exist_ok=True)
        for name, text in [*_files(file_count), ("config.json", config)]:
            path, is_config = os.path.join(folder, name), name == "config.json"
            if is_config or not os.path.lexists(path):
                mode = 0o600 if is_config else 0o666
                with (
                    atomic_file(path, mode=mode, is_durable=False) as part,
                    open(part, "w", encoding="utf-8") as file,
                ):
                    file.write(text)
    except OSError as exc:
        raise StorageError(
            f"{exc.filename}: {exc.strerror}; choose a --folder that can be written to",
            errno=exc.errno,
            path=exc.filename,
        ) from exc


def _files(text_count: int) -> Iterator[tuple[str, str]]:
    """Yield names and texts; the inputs are real texts that come with every Python."""
    from pydoc_data.topics import topics

    yield "README.txt", _README
    with open(os.path.join(os.path.dirname(__file__), "demo_toolkit.py"), encoding="utf-8") as file:
        yield "my_toolkit.py", file.read()
    names = {text: name for name, text in sorted(topics.items())}  # no two are equal
    for text, name in list(names.items())[:text_count]:
        yield f"input/{name}.txt", text
