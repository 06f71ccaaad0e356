"""`ctl`: change what a run that is on may do, without stopping it."""

from __future__ import annotations

import argparse
from dataclasses import fields

from ..core.errors import UsageError
from ..files.run_control import ask_run
from ..runs.options import CHANGES, RunOptions
from ..view.place import journal_folder
from . import console
from .exits import OK
from .place import add_place
from .settings import add_setting

_EPILOG = """\
It holds until the run ends. Keys need no command: edit the config, and the run takes it up.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = _EPILOG
    add_place(parser)
    for one in fields(RunOptions):
        if one.name in CHANGES:
            add_setting(parser, one)


def run(arguments: argparse.Namespace) -> int:
    """Ask the run for the changes, and say what it took up."""
    asked = {name: getattr(arguments, name) for name in CHANGES}
    changes = {name: value for name, value in asked.items() if value is not None}
    if not changes:
        raise UsageError("nothing to change: give --threads, --max-cost or both")
    folder = journal_folder(arguments.output_path, arguments.state_path)
    answer = ask_run(folder, changes)
    for words in answer["taken_up"].values():
        console.say(words)
    if answer["refused"]:
        raise UsageError("; ".join(answer["refused"].values()))
    return OK
