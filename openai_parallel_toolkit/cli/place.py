"""Name an output folder, and hold its lock."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from ..files.run_lock import RunLock
from ..view.place import journal_folder


def add_place(parser: argparse.ArgumentParser) -> None:
    """Add OUT and --state-path."""
    parser.add_argument("output_path", metavar="OUT", help="the output folder of a run, or its URL")
    add_state_path(parser)


def add_state_path(parser: argparse.ArgumentParser) -> None:
    """Add --state-path."""
    parser.add_argument(
        "--state-path", metavar="DIR", help="the --state-path that the run was given, if any"
    )


@contextmanager
def locked(output_path: str, state_path: str | None) -> Iterator[str]:
    """Hold the run's lock for the block, which gets the state folder.

    Raises:
        UsageError: no run has begun there.
        RunLocked: a run is on.
    """
    folder = journal_folder(output_path, state_path)
    lock = RunLock(folder)
    lock.acquire()
    try:
        yield folder
    finally:
        lock.release()
