"""Speak to the person, or the program, that gave the command."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from typing import Any, TextIO, TypeVar

from ..core.command_line import PROGRAM
from ..core.errors import FilesFailed, RunStopped, StorageError, ToolkitError
from ..core.redaction import Redactor
from ..core.text import visible
from ..runs.notices import IN_SUMMARY

_SummaryT = TypeVar("_SummaryT", bound=Any)


def prepare() -> None:
    """Make the streams bear every character, and show the package's warnings."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None:
            setattr(sys, name, _patient(stream))
    handler = _Warnings(logging.WARNING)
    handler.addFilter(Redactor())
    logging.getLogger(__package__.partition(".")[0]).addHandler(handler)


def say(text: str) -> None:
    """Print on standard output.

    Raises:
        StorageError: standard output is a file, and its disk refused.
    """
    try:
        print(visible(text, keep="\n"), flush=True)
    except OSError as exc:
        raise StorageError(f"standard output: {exc.strerror}", errno=exc.errno) from exc


def say_json(value: Any) -> None:
    """Print a value as JSON, in characters that every locale has."""
    say(json.dumps(value, indent=2).replace("\x7f", r"\u007f"))


def apart_from_json(as_json: bool) -> AbstractContextManager[object]:
    """Have all that is printed in the block go to standard error, where JSON is wanted."""
    return redirect_stdout(sys.stderr) if as_json else nullcontext()


def show(work: Callable[[], _SummaryT], *, as_json: bool, tells_itself: bool = False) -> _SummaryT:
    """Do work, and show its summary however it ends.

    Args:
        work: returns a summary, or raises an error that has one.
        as_json: as JSON, not in words.
        tells_itself: whether the work has printed the words already.
    """
    try:
        with apart_from_json(as_json):
            summary = _at_its_end(work)
    except (RunStopped, ToolkitError) as exc:
        if exc.summary is not None and not (as_json or tells_itself):
            say_stopped(exc, exc.summary)
        raise
    if as_json:
        say_json(summary.as_dict())
    elif not tells_itself:
        say(str(summary))
    return summary


def _at_its_end(work: Callable[[], _SummaryT]) -> _SummaryT:
    """Return the summary of work that came to its end, also where it says that files failed."""
    try:
        return work()
    except FilesFailed as exc:
        if exc.summary is None or exc.summary.stopped:
            raise
        summary: _SummaryT = exc.summary
        return summary


def say_stopped(error: BaseException, summary: Any) -> None:
    """Print the summary of a run that an error stopped, which is told next and says why."""
    say(str(summary) if isinstance(error, RunStopped) else summary.beside_error())


def complain(message: str) -> None:
    """Print one line about an error on standard error."""
    note(f"error: {message}")


def note(message: str) -> None:
    """Print one line on standard error."""
    if sys.stderr is not None:
        try:
            print(
                f"{PROGRAM}: {visible(' '.join(message.splitlines()))}", file=sys.stderr, flush=True
            )
        except OSError:  # nobody reads it
            return


class _Patient(io.FileIO):
    """A stream whose reader may go, as in `| head`: neither we nor a hook that prints fail."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return len(memoryview(data))


def _patient(stream: TextIO) -> TextIO:
    """Return the stream such that it bears a reader that goes, and every character."""
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Patient(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.isatty() or stream is sys.stderr,
    )


class _Warnings(logging.Handler):
    """Shows warnings on standard error, above a progress bar where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        if logging.root.handlers or sys.stderr is None:
            return  # the hooks' module shows logs in a way of its own
        if getattr(record, "action", "") == IN_SUMMARY:
            return  # it is printed
        line = f"{PROGRAM}: {record.levelname.lower()}: {self.format(record)}"
        bar = sys.modules.get("tqdm")
        try:
            if bar is None:
                print(line, file=sys.stderr, flush=True)
            else:
                bar.tqdm.write(line, file=sys.stderr)
        except OSError:
            self.handleError(record)
