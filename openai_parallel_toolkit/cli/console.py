"""Speak to the person, or the program, that gave the command."""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any

from ..errors import StorageError
from ..redact import Redactor

PROGRAM = "openai-parallel-toolkit"


def prepare() -> None:
    """Make the streams bear every character, and show the package's warnings."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    handler = _Warnings(logging.WARNING)
    handler.addFilter(Redactor())
    logging.getLogger(__package__.partition(".")[0]).addHandler(handler)


def say(text: str) -> None:
    """Print on standard output; a reader that has gone, as in `| head`, is no error.

    Raises:
        StorageError: standard output is a file, and its disk refused.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # What is said from here on goes nowhere, and the last flush finds nothing to complain of.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as exc:
        raise StorageError(f"standard output: {exc.strerror}", errno=exc.errno) from exc


def say_json(value: Any) -> None:
    """Print a value as JSON, in characters that every locale has."""
    say(json.dumps(value, indent=2))


def complain(message: str) -> None:
    """Print one line about an error on standard error."""
    _tell(f"error: {message}")


def note(message: str) -> None:
    """Print one line on standard error."""
    _tell(message)


def _tell(message: str) -> None:
    if sys.stderr is not None:
        try:
            print(f"{PROGRAM}: {' '.join(message.splitlines())}", file=sys.stderr, flush=True)
        except OSError:  # nobody reads it
            return


class _Warnings(logging.Handler):
    """Shows warnings on standard error, above a progress bar where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        if logging.root.handlers or sys.stderr is None:
            return  # the hooks' module shows logs in a way of its own
        line = f"{PROGRAM}: {record.levelname.lower()}: {self.format(record)}"
        bar = sys.modules.get("tqdm")
        try:
            if bar is None:
                print(line, file=sys.stderr, flush=True)
            else:
                bar.tqdm.write(line, file=sys.stderr)
        except OSError:
            self.handleError(record)
