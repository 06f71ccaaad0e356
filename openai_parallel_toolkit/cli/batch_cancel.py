"""`batch cancel`: stop what is at the provider, and keep what was answered."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from ..api.batch_folder.config import read_keys
from ..api.batch_folder.status import FolderCancelled, cancel_folder, has_folder
from ..batch import BatchOptions
from ..core.clock import Clock, SystemClock
from ..core.text import counted
from ..keys import APIKeyManager, close_unless_default
from ..runs.cancel import Cancelled, cancel_batches
from . import console
from .batch_place import add_places, check_places, state_of
from .exits import OK, SOME_FAILED
from .place import add_state_path

_EPILOG = """\
OUT is the output folder of `batch`, or of `run --mode batch`. What was answered is paid for: the
next run puts it into place.
"""
_LINE_EVERY_S = 30.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = _EPILOG
    add_places(parser, "OUT")
    add_state_path(parser)
    parser.add_argument(
        "--no-progress", dest="progress", action="store_false", help="do not tell how it goes"
    )
    parser.add_argument("--json", action="store_true", help="print what it came to as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Cancel and tell what it came to."""
    check_places(arguments, "batch cancel")
    folder, settings = state_of(arguments), read_keys(arguments.config)
    if not has_folder(folder):
        look = _Progress(SystemClock()).look if arguments.progress else _say_nothing
        return _cancel_mode(
            folder, APIKeyManager(settings=settings), look=look, as_json=arguments.json
        )
    result = cancel_folder(folder, settings, clock=SystemClock())
    if arguments.json:
        console.say_json({"cancelled": result.cancelled, "refused": list(result.refused)})
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


def _say_nothing(waiting: str) -> None:
    del waiting


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


_NOTHING_TO_CANCEL = "No batch is at the provider; nothing was cancelled."


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
