"""`batch`: send a folder of ready-made batch files, and collect the results."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import closing, nullcontext, redirect_stdout
from typing import Any

from ..batch_folder import BatchFolder, BatchFolderSummary
from ..batch_folder.config import Plan, read_keys, read_plan
from ..batch_folder.failures import Failure, failures
from ..batch_folder.standing import (
    FolderCancelled,
    Standing,
    cancel_folder,
    has_folder,
    standings,
)
from ..batch_folder.templates import write_templates
from ..batch_lane import BatchOptions
from ..clock import SystemClock
from ..errors import RunStopped, ToolkitError, UsageError
from ..keys import APIKeyManager, close_unless_default
from ..report import counted
from ..runner.cancel import Cancelled, cancel_batches
from ..storage import is_remote, open_store
from ..storage.urls import local_path
from ..work.runlock import RunLock
from . import console, words
from .exits import OK, SOME_FAILED
from .place import state_folder

_EPILOG = """\
  batch IN OUT [ERR]        send the *.jsonl files of IN; results to OUT, failures to ERR
  batch --config FILE       the same, with places and keys from a file (see --init)
  batch status OUT          what is under way, also while a run is on
  batch failures ERR        all lines and files that failed, as one list
  batch cancel OUT          stop what is at the provider; the next run collects what was answered

FILE is a batch.json, a config.json with keys, or the app_config.json of the Azure batch
accelerator; without it APP_CONFIG in the environment names it, else the keys come from there.
Stop it with Ctrl-C and give the same command again, today or tomorrow: batches go on meanwhile.
`batch cancel` works for folders of `run --mode batch` as well.
"""
_SETTINGS = (
    "batch_size",
    "continuous",
    "pattern",
    "endpoint",
    "completion_window",
    "max_attempts",
    "count_tokens",
    "state_path",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = _EPILOG
    parser.add_argument("places", metavar="PLACE", nargs="*", help="folders or URLs, see below")
    parser.add_argument("--config", metavar="FILE", help="places, settings and keys")
    parser.add_argument("--init", metavar="DIR", help="write templates of such files into DIR")
    parser.add_argument(
        "--batch-size", type=int, metavar="N", help="files under way at a time (10)"
    )
    parser.add_argument(
        "--continuous",
        action="store_true",
        default=None,
        help="go on looking for new files every minute, until stopped with Ctrl-C",
    )
    parser.add_argument("--pattern", metavar="GLOB", help='names of inputs ("*.jsonl")')
    parser.add_argument("--endpoint", metavar="URL", help="what all lines must ask for")
    parser.add_argument(
        "--completion-window", metavar="TIME", help="what the service may take (24h)"
    )
    parser.add_argument(
        "--max-attempts", type=int, metavar="N", help="batches that one file may take (3)"
    )
    parser.add_argument(
        "--count-tokens", action="store_true", default=None, help="count the prompts' tokens"
    )
    parser.add_argument("--state-path", metavar="DIR", help="a local folder for what is under way")
    parser.add_argument("--no-progress", dest="progress", action="store_false", help="draw no bar")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Do what the first word says."""
    if arguments.init is not None:
        console.say("\n".join(write_templates(arguments.init)))
        console.note("fill in what stands in <...>, then: batch --config FILE")
        return OK
    action = _ACTIONS.get(arguments.places[0]) if arguments.places else None
    if action is None:
        return _send(arguments)
    word, *arguments.places = arguments.places
    if not arguments.places and arguments.config is None and "APP_CONFIG" not in os.environ:
        raise UsageError(f"`batch {word}` wants a folder to look at (see `batch --help`)")
    return action(arguments)


def _send(arguments: argparse.Namespace) -> int:
    if len(arguments.places) > 3:
        raise UsageError("give at most three places: IN OUT ERR")
    folder = BatchFolder(
        arguments.config, *arguments.places, **_settings(arguments), progress=arguments.progress
    )
    try:
        with redirect_stdout(sys.stderr) if arguments.json else nullcontext():
            summary = folder.run()
    except (RunStopped, ToolkitError) as exc:
        _show(getattr(exc, "summary", None), arguments)
        raise
    _show(summary, arguments)
    return SOME_FAILED if summary.failed or summary.partly_failed or summary.left else OK


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in _SETTINGS}


def _show(summary: BatchFolderSummary | None, arguments: argparse.Namespace) -> None:
    if summary is None:
        return
    if arguments.json:
        console.say_json(summary.as_dict())
    elif not arguments.progress:
        console.say(str(summary))


def _state_of(arguments: argparse.Namespace) -> str:
    """Return the state folder of OUT, of IN OUT, or of what the configuration says."""
    if len(arguments.places) == 1:
        return state_folder(arguments.places[0], arguments.state_path)
    folder = _plan_of(arguments).settings.state_folder
    if not has_folder(folder):
        raise UsageError(f"no batch run has begun there (there is no {folder})")
    return folder


def _plan_of(arguments: argparse.Namespace) -> Plan:
    given = dict(zip(("input_path", "output_path", "error_path"), arguments.places, strict=False))
    if arguments.state_path is not None:
        given["state_path"] = arguments.state_path
    return read_plan(arguments.config, given)


# -- status ------------------------------------------------------------------------------------


def _status(arguments: argparse.Namespace) -> int:
    folder = _state_of(arguments)
    if not has_folder(folder):
        raise UsageError(f"no BatchFolder has worked there; use `status {arguments.places[0]}`")
    found, holder = standings(folder), RunLock(folder).holder()
    if arguments.json:
        told = [one.as_dict() for one in found]
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


def _row(one: Standing) -> tuple[str, ...]:
    since = words.moment(one.taken_wall_s)
    batch = one.batch_id or "-"
    return words.clean(one.path), one.stage, f"{one.lines:,}", words.clean(one.key), batch, since


# -- failures ----------------------------------------------------------------------------------


def _failures(arguments: argparse.Namespace) -> int:
    place = arguments.places[0] if len(arguments.places) == 1 else None
    if place is not None and not is_remote(place) and not os.path.isdir(local_path(place)):
        raise UsageError(f"there is no folder {place!r}; name the error location of a batch run")
    with closing(_plan_of(arguments).error.open() if place is None else open_store(place)) as store:
        found = list(failures(store))
    if arguments.json:
        console.say_json([one.as_dict() for one in found])
    elif found:
        console.say(words.columns([_FAILURE_HEAD, *map(_failure_row, found)]))
    else:
        console.say(f"nothing failed in {store.url()}")
    return OK


_FAILURE_HEAD = ("File", "line", "status", "code", "message")
_MESSAGE_CHARACTERS = 100


def _failure_row(one: Failure) -> tuple[str, ...]:
    line = one.custom_id if one.custom_id is not None else str(one.line or "-")
    message = words.shorten(words.clean(one.message), _MESSAGE_CHARACTERS)
    status = str(one.status or "-")
    return words.clean(one.file), words.clean(line), status, words.clean(one.code), message


# -- cancel ------------------------------------------------------------------------------------


def _cancel(arguments: argparse.Namespace) -> int:
    folder, settings = _state_of(arguments), read_keys(arguments.config)
    if not has_folder(folder):
        return _cancel_mode(folder, APIKeyManager(settings=settings), as_json=arguments.json)
    came_to = cancel_folder(folder, settings, clock=SystemClock())
    if arguments.json:
        console.say_json({"cancelled": came_to.cancelled, "refused": list(came_to.refused)})
    else:
        console.say(_cancelled_words(came_to))
        for reason in came_to.refused:
            console.note(f"not cancelled: {reason}")
    return SOME_FAILED if came_to.refused else OK


def _cancel_mode(folder: str, keys: APIKeyManager, *, as_json: bool) -> int:
    """Cancel what `run --mode batch` has at the provider."""
    lock = RunLock(folder)
    lock.acquire()
    try:
        came_to = cancel_batches(
            folder, keys, options=BatchOptions(), clock=SystemClock(), look=lambda _: None
        )
    finally:
        lock.release()
        close_unless_default(keys)
    if as_json:
        counts = {"cancelled": came_to.batches, "calls": came_to.sent, "left": came_to.left}
        console.say_json({**counts, "answered": came_to.calls.answered})
    else:
        console.say(_mode_cancelled_words(came_to))
    return SOME_FAILED if came_to.left else OK


_NOTHING_TO_CANCEL = "No batch is at the provider; nothing was cancelled."


def _cancelled_words(came_to: FolderCancelled) -> str:
    if not came_to.cancelled and not came_to.refused:
        return _NOTHING_TO_CANCEL
    return (
        f"Told to stop: {counted(came_to.cancelled, 'batch', 'batches')}; what is answered is paid "
        "for. Run `batch` again to put it into place."
    )


def _mode_cancelled_words(came_to: Cancelled) -> str:
    if not came_to.batches and not came_to.left:
        return _NOTHING_TO_CANCEL
    return (
        f"Cancelled: {counted(came_to.batches, 'batch', 'batches')} with "
        f"{counted(came_to.sent, 'call')}. Answered before that, and kept: "
        f"{came_to.calls.answered:,}."
    )


_ACTIONS = {"status": _status, "failures": _failures, "cancel": _cancel}
