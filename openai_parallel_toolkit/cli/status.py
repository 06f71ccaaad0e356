"""`status` and `failures`: how the work on an output folder stands, also while a run is on."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from ..core.errors import RunLocked
from ..core.records import FileState
from ..core.text import counted, visible
from ..costs.figures import COUNTED, Figures
from ..files.run_lock import RunLock
from ..journal import FileFailure, JournalReader, RunRecord, Status
from ..view.place import journal_folder
from . import console, words
from .exits import OK
from .place import add_place

_FILE_WORDS = {
    FileState.DONE: "done",
    FileState.FAILED: "failed",
    FileState.ASIDE: "put aside",
    FileState.INTENT: "being moved into place",
    FileState.OPEN: "begun",
}

_REASON_CHARACTERS = 120
_FAILURE_CHARACTERS = 300


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_place(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print how the work stands."""
    folder = journal_folder(arguments.output_path, arguments.state_path)
    with JournalReader(folder) as reader:
        status = reader.status()
        failure = next(reader.failures(), None)
    holds = RunLock(folder).holder()
    if arguments.json:
        console.say_json({"state_path": folder, **_as_json(status, holds)})
    else:
        console.say("\n".join(_lines(status, holds, failure)))
    return OK


def _lines(status: Status, holds: RunLocked | None, failure: FileFailure | None) -> Iterator[str]:
    totals = status.totals.all_runs
    counts = [f"{status.files[state]:,} {word}" for state, word in _FILE_WORDS.items()
              if status.files[state] or state is FileState.DONE]  # fmt: skip
    yield f"Files:  {', '.join(counts)}"
    yield f"Run:    {_run_words(status.run, holds)}"
    yield f"Calls:  {_calls_words(totals)} in all runs"
    is_silent = totals.answered and not totals.tokens
    told = f"{totals.prompt_tokens:,} sent, {totals.completion_tokens:,} received"
    yield f"Tokens: {'unknown' if is_silent else told}"
    yield f"Cost:   {_cost_words(totals)}"
    waiting = status.batches
    if waiting.batches or waiting.queued:
        queued = f", {counted(waiting.queued, 'call')} not sent yet" if waiting.queued else ""
        calls = counted(waiting.in_batches, "call")
        yield f"Batches: {waiting.batches:,} with {calls} at the provider{queued}"
    for title, parts in (("Key", status.by_key), ("Model", status.by_model)):
        if parts:
            yield ""
            yield _table(title, parts)
    for name, reason in status.dropped.items():
        why = words.shorten(visible(reason), _REASON_CHARACTERS)
        yield f"Dropped: {visible(name)} ({why})"
    if failure is not None:
        yield f"Failed: {_failure_line(failure)}"
        if status.files[FileState.FAILED] + status.files[FileState.ASIDE] > 1:
            yield "`failures` lists them all."


def _run_words(run: RunRecord | None, holds: RunLocked | None) -> str:
    if run is None:
        return "one is getting ready" if holds else "none has begun"
    told = f"number {run.id:,} began {words.moment(run.started_wall_s)}"
    if run.ended_wall_s is not None:
        told += f", {run.how} {words.moment(run.ended_wall_s)}"
    elif holds is None:
        told += " and died without a word; run it again to go on"
    return told if holds is None else f"{told}; process {holds.pid} on {holds.host} is at work"


def _calls_words(figures: Figures) -> str:
    parts = [f"{figures.sent:,} sent", f"{figures.answered:,} answered"]
    if figures.unknown:
        parts.append(f"{figures.unknown:,} unknown (maybe billed)")
    if figures.unanswered:
        parts.append(f"{figures.unanswered:,} in flight or lost (maybe billed)")
    return ", ".join(parts)


def _cost_words(figures: Figures) -> str:
    if not (figures.answered or figures.max_cost_usd or figures.unpriced):
        return "nothing was bought"
    return figures.cost.words()


def _table(title: str, parts: Mapping[str, Figures]) -> str:
    counts = ("sent", "answered", "unknown", "unanswered", "tokens")
    rows = [
        (visible(name), *(f"{getattr(f, count):,}" for count in counts), _cost_words(f))
        for name, f in sorted(parts.items())
    ]
    return words.columns([(title, *counts, "cost"), *rows])


def _as_json(status: Status, holds: RunLocked | None) -> dict[str, Any]:
    return {
        "files": {state.value: count for state, count in status.files.items()},
        "run": status.run and _run_json(status.run),
        "locked_by": holds and {"pid": holds.pid, "host": holds.host, "since": holds.since},
        "this_run": _figures_json(status.totals.this_run),
        "all_runs": _figures_json(status.totals.all_runs),
        "by_key": {name: _figures_json(f) for name, f in status.by_key.items()},
        "by_model": {name: _figures_json(f) for name, f in status.by_model.items()},
        "dropped": dict(status.dropped),
        "batches": asdict(status.batches),
    }


def _figures_json(figures: Figures) -> dict[str, Any]:
    return figures.as_dict(*(name for name in COUNTED if not name.endswith("_usd")))


def _run_json(run: RunRecord) -> dict[str, Any]:
    return {
        "number": run.id,
        "pid": run.pid,
        "host": run.host,
        "started_wall_s": run.started_wall_s,
        "ended_wall_s": run.ended_wall_s,
        "how": run.how or None,
        "summary": json.loads(run.summary_json) or None,
    }


def configure_failures(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_place(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON, tracebacks included")


def run_failures(arguments: argparse.Namespace) -> int:
    """Print the files that failed and those that were put aside."""
    with JournalReader(journal_folder(arguments.output_path, arguments.state_path)) as reader:
        if arguments.json:
            console.say_json([_failure_json(failure) for failure in reader.failures()])
            return OK
        failure = None
        for failure in reader.failures():
            console.say(_failure_line(failure))
    if failure is None:
        console.say("No file failed.")
    return OK


def _failure_line(failure: FileFailure) -> str:
    often = f"failed in {counted(failure.failed_runs, 'run')}"
    if failure.state is FileState.ASIDE:
        often += ", put aside until --retry-failed"
    message = words.shorten(visible(failure.note.message), _FAILURE_CHARACTERS)
    return f"{visible(failure.path)}: {failure.note.kind}: {message} ({often})"


def _failure_json(failure: FileFailure) -> dict[str, object]:
    return {
        "file": failure.path,
        "state": failure.state.value,
        "failed_runs": failure.failed_runs,
        **asdict(failure.note),
    }
