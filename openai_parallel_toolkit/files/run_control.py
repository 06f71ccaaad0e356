"""Say to a run that is on what it is to change, through two small files in its state folder.

Who may write there is the owner: the folder is private. What is asked is read by the run a few
times a second, and it answers what was taken up.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from ..core.errors import UnsafePath, UsageError
from ..core.filesystem import atomic_file, open_regular, storage_errors
from .run_lock import RunLock

_ASKED, _ANSWERED = "run.json.asked", "run.json.answered"
_MOST_BYTES = 4_096
#: How often an answer is looked for, and for how long.
_EVERY_S, _PATIENCE_S = 0.05, 15.0


class RunControl:
    """What a run hears; used by the thread that runs it."""

    def __init__(self, state_folder: str) -> None:
        """Begin to listen; what was asked of an earlier run is forgotten."""
        self._asked = os.path.join(state_folder, _ASKED)
        self._answered = os.path.join(state_folder, _ANSWERED)
        self.close()

    def hear(self, take_up: Callable[[str, object], str]) -> None:
        """Have each change that is asked for taken up, and answer.

        Args:
            take_up: gets a setting's name and value, and says what came of it; ValueError says in
                words why nothing did.
        """
        if not os.path.lexists(self._asked):
            return
        asked = _read(self._asked)
        with suppress(OSError):
            os.unlink(self._asked)
        changes = asked.get("changes")
        if not isinstance(changes, dict):
            return
        told: dict[str, dict[str, str]] = {"taken_up": {}, "refused": {}}
        for name, value in changes.items():
            try:
                told["taken_up"][name] = take_up(name, value)
            except ValueError as exc:
                told["refused"][name] = str(exc)
        with suppress(OSError):  # a full disk stops no run for the sake of an answer
            _write(self._answered, {"id": asked.get("id"), **told})

    def close(self) -> None:
        """Hear nothing more."""
        for path in (self._asked, self._answered):
            with suppress(OSError):
                os.unlink(path)


def ask_run(state_folder: str, changes: Mapping[str, object]) -> Mapping[str, Mapping[str, str]]:
    """Ask the run that is on there for changes; return what was "taken_up" and "refused".

    Raises:
        UsageError: no run is on there, or it does not answer.
        StorageError: the folder cannot be written to.
    """
    if RunLock(state_folder).holder() is None:
        raise UsageError("no run is on there; give these settings to the next `run` instead")
    asked, answered = (os.path.join(state_folder, name) for name in (_ASKED, _ANSWERED))
    number = uuid.uuid4().hex
    with storage_errors(asked):
        _write(asked, {"id": number, "changes": dict(changes)})
    until_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until_s:
        answer = _read(answered)
        if answer.get("id") == number:
            return answer
        time.sleep(_EVERY_S)
    with suppress(OSError):
        os.unlink(asked)
    raise UsageError("the run there did not answer: it has not begun its work yet, or is ending")


def _read(path: str) -> dict[str, Any]:
    """Return what a file says; nothing, if it is not one of ours."""
    try:
        with open(open_regular(path), "rb") as file:
            found = json.loads(file.read(_MOST_BYTES))
    except (OSError, UnsafePath, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: str, content: Mapping[str, object]) -> None:
    quickly = atomic_file(path, mode=0o600, is_durable=False)
    with quickly as part, open(part, "w", encoding="utf-8") as file:
        json.dump(content, file)
