"""`prune`: drop the kept answers of files that are done."""

from __future__ import annotations

import argparse

from ..core.text import counted
from ..journal import prune
from . import console
from .exits import OK
from .place import add_place, locked


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = "Should such a file become due again, its calls are paid for again."
    add_place(parser)


def run(arguments: argparse.Namespace) -> int:
    """Make the journal smaller and say by how much."""
    with locked(arguments.output_path, arguments.state_path) as folder:
        report = prune(folder)
    console.say(
        f"{counted(report.answers, 'answer')} dropped, {counted(report.freed_bytes, 'byte')} freed."
    )
    return OK
