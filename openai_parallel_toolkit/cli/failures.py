"""`failures`: which files failed, and why."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from ..core.records import FileState
from ..core.text import counted
from ..journal import FileFailure, JournalReader
from . import console, words
from .exits import OK
from .place import add_place, journal_folder

_MESSAGE_CHARACTERS = 300


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_place(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON, tracebacks included")


def run(arguments: argparse.Namespace) -> int:
    """Print the files that failed and those that were put aside."""
    with JournalReader(journal_folder(arguments.output_path, arguments.state_path)) as reader:
        if arguments.json:
            console.say_json([_as_json(failure) for failure in reader.failures()])
            return OK
        failure = None
        for failure in reader.failures():
            console.say(_line(failure))
    if failure is None:
        console.say("No file failed.")
    return OK


def _line(failure: FileFailure) -> str:
    often = f"failed in {counted(failure.failed_runs, 'run')}"
    if failure.state is FileState.ASIDE:
        often += ", put aside until --retry-failed"
    message = words.shorten(words.clean(failure.note.message), _MESSAGE_CHARACTERS)
    return f"{words.clean(failure.path)}: {failure.note.kind}: {message} ({often})"


def _as_json(failure: FileFailure) -> dict[str, object]:
    return {
        "file": failure.path,
        "state": failure.state.value,
        "failed_runs": failure.failed_runs,
        **asdict(failure.note),
    }
