"""`batch status`, `batch failures` and `batch cancel`: what came of batches, and what goes on."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict

from ..api.batch_folder.config import VARIABLE, BatchFolderPlan, read_keys, read_plan
from ..api.batch_folder.failures import Failure, failures
from ..api.batch_folder.status import (
    FolderCancelled,
    JobStatus,
    cancel_folder,
    has_folder,
    job_statuses,
)
from ..batch import BatchOptions
from ..core.clock import Clock, SystemClock
from ..core.command_line import command as command_line
from ..core.errors import UsageError
from ..core.file_kinds import is_folder
from ..core.text import counted, visible
from ..files.run_lock import RunLock
from ..files.stores import is_remote, open_store
from ..files.stores.urls import local_path
from ..keys import APIKeyManager, close_unless_default
from ..runs.cancel import Cancelled, cancel_batches
from ..view.place import state_folder
from . import console, words
from .exits import OK, SOME_FAILED
from .place import add_state_path
from .status import add_exit_code

_PLACES = ("input_path", "output_path", "error_path")

# -- where ---------------------------------------------------------------------------------------


def _add_places(parser: argparse.ArgumentParser, one: str, json: str = "print it as JSON") -> None:
    """Add places, --config and --json; `one` is the place that is enough."""
    parser.add_argument(
        "places", metavar=one, nargs="*", help=f"{one} alone, or IN OUT ERR as `batch` was given"
    )
    parser.add_argument("--config", metavar="FILE", help="the one that `batch` was given, if any")
    parser.add_argument("--json", action="store_true", help=json)


def _check_places(arguments: argparse.Namespace, command: str) -> None:
    if len(arguments.places) > len(_PLACES):
        raise UsageError("give at most three places: IN OUT ERR")
    if not arguments.places and arguments.config is None and VARIABLE not in os.environ:
        help = command_line(*command.split(), "--help")
        raise UsageError(f"`{command}` wants a folder to look at (see `{help}`)")


def _state_of(arguments: argparse.Namespace) -> str:
    """Return the state folder of OUT, of IN OUT, or of what the configuration says."""
    if len(arguments.places) == 1:
        return state_folder(arguments.places[0], arguments.state_path)
    folder = _plan_of(arguments, state_path=arguments.state_path).settings.state_folder
    if not has_folder(folder):
        raise UsageError(f"no batch run has begun there (there is no {folder})")
    return folder


def _plan_of(arguments: argparse.Namespace, *, state_path: str | None = None) -> BatchFolderPlan:
    places = dict(zip(_PLACES, arguments.places, strict=False))
    return read_plan(arguments.config, {**places, "state_path": state_path})


# -- status --------------------------------------------------------------------------------------

_STATUS_HEAD = ("File", "stage", "lines", "key", "batch", "since")


def configure_status(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    _add_places(parser, "OUT")
    add_state_path(parser)


def run_status(arguments: argparse.Namespace) -> int:
    """Print what is under way, also while a run is on."""
    _check_places(arguments, "batch status")
    folder = _state_of(arguments)
    if not has_folder(folder):
        other = command_line("status", *arguments.places[:1])
        raise UsageError(f"no folder of batch files was worked on there; use `{other}`")
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
        console.say(words.columns([_STATUS_HEAD, *map(_status_row, found)]))
    return OK


def _status_row(one: JobStatus) -> tuple[str, ...]:
    since = words.moment(one.taken_wall_s)
    batch = one.batch_id or "-"
    return visible(one.path), one.stage, f"{one.lines:,}", visible(one.key), batch, since


# -- failures ------------------------------------------------------------------------------------

_FAILURE_HEAD = ("File", "line", "status", "code", "message")
_MESSAGE_CHARACTERS = 100


def configure_failures(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    _add_places(parser, "ERR", "print them as JSON")
    add_exit_code(parser)


def run_failures(arguments: argparse.Namespace) -> int:
    """Print the lines and files that failed, of all error files together."""
    _check_places(arguments, "batch failures")
    place = arguments.places[0] if len(arguments.places) == 1 else None
    if place is not None and not is_remote(place) and not is_folder(local_path(place)):
        raise UsageError(f"there is no folder {place!r}; name the error location of a batch run")
    with closing(_plan_of(arguments).error.open() if place is None else open_store(place)) as store:
        found = list(failures(store))
    if arguments.json:
        console.say_json([asdict(one) for one in found])
    elif found:
        console.say(words.columns([_FAILURE_HEAD, *map(_failure_row, found)]))
    else:
        console.say(f"nothing failed in {store.url()}")
    return SOME_FAILED if found and arguments.exit_code else OK


def _failure_row(one: Failure) -> tuple[str, ...]:
    line = one.custom_id if one.custom_id is not None else str(one.line or "-")
    message = words.shorten(visible(one.message), _MESSAGE_CHARACTERS)
    status = str(one.status or "-")
    return visible(one.file), visible(line), status, visible(one.code), message


# -- cancel --------------------------------------------------------------------------------------

_CANCEL_EPILOG = """\
OUT is the output folder of `batch`, or of `run --mode batch`. What was answered is paid for: the
next run puts it into place.
"""
_NOTHING_TO_CANCEL = "No batch is at the provider; nothing was cancelled."
_LINE_EVERY_S = 30.0


def configure_cancel(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = _CANCEL_EPILOG
    _add_places(parser, "OUT", "print what it came to as JSON")
    add_state_path(parser)
    parser.add_argument(
        "--no-progress", dest="progress", action="store_false", help="do not tell how it goes"
    )


def run_cancel(arguments: argparse.Namespace) -> int:
    """Stop what is at the provider, keep what was answered, and tell what it came to."""
    _check_places(arguments, "batch cancel")
    folder, settings = _state_of(arguments), read_keys(arguments.config)
    if not has_folder(folder):
        look = _Progress(SystemClock()).look if arguments.progress else lambda _: None
        return _cancel_mode(
            folder, APIKeyManager(settings=settings), look=look, as_json=arguments.json
        )
    result = cancel_folder(folder, settings, clock=SystemClock())
    if arguments.json:
        console.say_json(asdict(result))
    else:
        console.say(_cancelled_words(result))
        for reason in result.refused:
            console.note(f"not cancelled: {reason}")
    return SOME_FAILED if result.refused else OK


class _Progress:
    """Says at once, and then now and then, what is waited for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next_s = clock.now_s()

    def look(self, waiting: str) -> None:
        now_s = self._clock.now_s()
        if waiting and now_s >= self._next_s:
            self._next_s = now_s + _LINE_EVERY_S
            console.note(f"cancelling, which may take minutes: {waiting}")


def _cancel_mode(
    folder: str, keys: APIKeyManager, *, look: Callable[[str], None], as_json: bool
) -> int:
    """Cancel what `run --mode batch` has at the provider."""
    try:
        result = cancel_batches(
            folder, keys, options=BatchOptions(), clock=SystemClock(), look=look
        )
    finally:
        close_unless_default(keys)
    if as_json:
        counts = {"cancelled": result.batches, "calls": result.sent, "left": result.left}
        console.say_json({**counts, "answered": result.calls.answered})
    else:
        console.say(_mode_cancelled_words(result))
    return SOME_FAILED if result.left else OK


def _cancelled_words(result: FolderCancelled) -> str:
    if not result.cancelled and not result.refused:
        return _NOTHING_TO_CANCEL
    return (
        f"Told to stop: {counted(result.cancelled, 'batch', 'batches')}; what is answered is paid "
        "for. Run `batch` again to put it into place."
    )


def _mode_cancelled_words(result: Cancelled) -> str:
    if not result.batches and not result.left:
        return _NOTHING_TO_CANCEL
    left = f" Not cancelled: {counted(result.left, 'batch', 'batches')}." if result.left else ""
    return (
        f"Cancelled: {counted(result.batches, 'batch', 'batches')} with "
        f"{counted(result.sent, 'call')}. Answered before that, and kept: "
        f"{result.calls.answered:,}.{left}"
    )
