"""`prune` and `repair`: keep the journal of a folder small and sound."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from ..core.text import counted
from ..journal import RepairReport, prune, repair
from . import console
from .exits import OK
from .place import add_place, locked


def configure_prune(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = "Should such a file become due again, its calls are paid for again."
    add_place(parser)


def run_prune(arguments: argparse.Namespace) -> int:
    """Drop what is kept of the calls of finished files, and say by how much that is smaller."""
    with locked(arguments.output_path, arguments.state_path) as folder:
        report = prune(folder)
    console.say(
        f"{counted(report.answers, 'answer')} and {counted(report.requests, 'request')} dropped, "
        f"{counted(report.freed_bytes, 'byte')} freed."
    )
    return OK


def configure_repair(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = "A damaged journal is kept beside the new one."
    add_place(parser)


def run_repair(arguments: argparse.Namespace) -> int:
    """Check the journal, mend it if it is damaged, and say what was done."""
    with locked(arguments.output_path, arguments.state_path) as folder:
        report = repair(folder)
    console.say("\n".join(_lines(report)))
    return OK


def _lines(report: RepairReport) -> Iterator[str]:
    if not report.problems:
        yield "The journal is sound; nothing was changed."
        return
    yield from (f"Found: {problem}" for problem in report.problems)
    yield (
        f"Saved: {counted(report.files, 'file')}, {counted(report.attempts, 'request')} and "
        f"{counted(report.answers, 'answer')}; what is missing is asked for again."
    )
    yield f"The damaged journal is kept as {report.kept_as}"
