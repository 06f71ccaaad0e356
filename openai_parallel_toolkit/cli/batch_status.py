"""`batch status`: what of a folder of batch files is under way, also while a run is on."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from ..api.batch_folder.status import JobStatus, has_folder, job_statuses
from ..core.errors import UsageError
from ..core.text import counted
from ..files.run_lock import RunLock
from . import console, words
from .batch_place import add_places, check_places, state_of
from .exits import OK
from .place import add_state_path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_places(parser, "OUT")
    add_state_path(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print what is under way."""
    check_places(arguments, "batch status")
    folder = state_of(arguments)
    if not has_folder(folder):
        raise UsageError(f"no BatchFolder has worked there; use `status {arguments.places[0]}`")
    found, holder = job_statuses(folder), RunLock(folder).holder()
    if arguments.json:
        told = [asdict(one) for one in found]
        console.say_json(
            {"state_path": folder, "under_way": told, "is_running": holder is not None}
        )
        return OK
    at_work = "" if holder is None else f"; process {holder.pid} on {holder.host} is at work"
    console.say(f"Under way: {counted(len(found), 'file')}{at_work}")
    if found:
        console.say(words.columns([_HEAD, *map(_row, found)]))
    return OK


_HEAD = ("File", "stage", "lines", "key", "batch", "since")


def _row(one: JobStatus) -> tuple[str, ...]:
    since = words.moment(one.taken_wall_s)
    batch = one.batch_id or "-"
    return words.clean(one.path), one.stage, f"{one.lines:,}", words.clean(one.key), batch, since
