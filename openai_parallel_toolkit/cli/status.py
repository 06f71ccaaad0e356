"""`status` and `failures`: how the work on an output folder stands, also while a run is on."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..core.command_line import command
from ..core.errors import RunLocked
from ..core.records import FileState
from ..core.text import counted, dollars, visible
from ..costs.figures import COUNTED, Figures, usd_text
from ..files.run_lock import RunLock
from ..journal import FileCost, FileFailure, JournalReader, RunRecord, Status
from ..view.place import journal_folder
from . import console, words
from .exits import OK, SOME_FAILED
from .place import add_place

_FILE_WORDS = {
    FileState.DONE: "done",
    FileState.FAILED: "failed",
    FileState.ASIDE: "put aside",
    FileState.INTENT: "being moved into place",
    FileState.OPEN: "begun",
}

#: Of the tables.
_COUNTS = ("sent", "answered", "unknown", "unanswered", "tokens")
#: Those that stand there only where they are not 0, and their titles.
_RARE = {"unknown": "unknown", "unanswered": "no end yet"}
_WORDS = """\
words:
  begun           its hooks were started, and have not come to their end
  put aside       it failed in too many runs; `run --retry-failed` tries it again
  unknown         sent, but the answer was lost on the way: the provider may have billed it
  in flight       sent, and its answer is awaited
  cut off         sent by a run that ended before the answer came: maybe billed
  no end yet      in flight, at the provider in a batch, or cut off
  dropped         a key that is refused or out of quota; one call of the next run tries it again
"""

_REASON_CHARACTERS = 120
_FAILURE_CHARACTERS = 300


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = _WORDS
    add_place(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.add_argument(
        "--top-cost",
        nargs="?",
        const=10,
        default=0,
        type=_count,
        metavar="N",
        help="also the N files that cost most (10)",
    )


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"expected a count above 0, got {text!r}")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Print how the work stands."""
    folder = journal_folder(arguments.output_path, arguments.state_path)
    with JournalReader(folder) as reader:
        status = reader.status()
        failure = next(reader.failures(), None)
        dearest = reader.dearest(arguments.top_cost) if arguments.top_cost else []
    holds = RunLock(folder).holder()
    if arguments.json:
        told = {"state_path": folder, **_as_json(status, holds)}
        if arguments.top_cost:
            told["top_cost"] = [
                {**asdict(file), "cost_usd": usd_text(file.cost_usd)} for file in dearest
            ]
        console.say_json(told)
    else:
        lines = [*_lines(status, holds, failure, arguments.output_path), *_dearest_lines(dearest)]
        console.say("\n".join(lines))
    return OK


def _lines(
    status: Status, holds: RunLocked | None, failure: FileFailure | None, out: str
) -> Iterator[str]:
    totals = status.totals.all_runs
    counts = [f"{status.files[state]:,} {word}" for state, word in _FILE_WORDS.items()
              if status.files[state] or state is FileState.DONE]  # fmt: skip
    yield f"Files:  {', '.join(counts)}"
    yield f"Run:    {_run_words(status.run, holds)}"
    yield f"Calls:  {_calls_words(status, is_on=holds is not None)} in all runs"
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
        yield f"Dropped: {visible(name)} ({why}); one call of the next run tries it"
    if failure is not None:
        yield f"Failed: {_failure_line(failure)}"
        if status.files[FileState.FAILED] + status.files[FileState.ASIDE] > 1:
            yield f"`{command('failures', out)}` lists them all."


def _dearest_lines(dearest: Sequence[FileCost]) -> Iterator[str]:
    if dearest:
        rows = [
            (visible(file.path), f"{file.answers:,}", f"{file.tokens:,}", dollars(file.cost_usd))
            for file in dearest
        ]
        yield ""
        yield words.columns([("Dearest files", "answers", "tokens", "cost"), *rows])


def _run_words(run: RunRecord | None, holds: RunLocked | None) -> str:
    if run is None:
        return "one is getting ready" if holds else "none has begun"
    told = f"number {run.id:,} began {words.moment(run.started_wall_s)}"
    if run.ended_wall_s is not None:
        told += f", {run.how} {words.moment(run.ended_wall_s)}"
    elif holds is None:
        told += " and died without a word; run it again to go on"
    return told if holds is None else f"{told}; process {holds.pid} on {holds.host} is at work"


def _calls_words(status: Status, *, is_on: bool) -> str:
    figures, this_run = status.totals.all_runs, status.totals.this_run
    open_ = max(0, figures.unanswered - status.batches.in_batches)
    in_flight = min(open_, this_run.unanswered) if is_on else 0
    counts = {
        "unknown (maybe billed)": figures.unknown,
        "in flight": in_flight,
        "cut off at the end of their run (maybe billed)": open_ - in_flight,
    }
    parts = [f"{count:,} {word}" for word, count in counts.items() if count]
    return ", ".join([f"{figures.sent:,} sent", f"{figures.answered:,} answered", *parts])


def _cost_words(figures: Figures) -> str:
    if not (figures.answered or figures.max_cost_usd or figures.unpriced):
        return "nothing was bought"
    return figures.cost.words()


def _table(title: str, parts: Mapping[str, Figures]) -> str:
    """Return figures in columns; those that need an explanation only where they are not 0."""
    counts = [
        name
        for name in _COUNTS
        if name not in _RARE or any(getattr(figures, name) for figures in parts.values())
    ]
    rows = [
        (visible(name), *(f"{getattr(f, count):,}" for count in counts), _cost_words(f))
        for name, f in sorted(parts.items())
    ]
    return words.columns([(title, *(_RARE.get(name, name) for name in counts), "cost"), *rows])


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
    add_exit_code(parser)


def add_exit_code(parser: argparse.ArgumentParser) -> None:
    """Add --exit-code, which is as that of `git diff`."""
    parser.add_argument(
        "--exit-code", action="store_true", help="exit with 1 when something failed, else with 0"
    )


def run_failures(arguments: argparse.Namespace) -> int:
    """Print the files that failed and those that were put aside."""
    with JournalReader(journal_folder(arguments.output_path, arguments.state_path)) as reader:
        count = 0
        if arguments.json:
            found = [_failure_json(failure) for failure in reader.failures()]
            console.say_json(found)
            count = len(found)
        else:
            for failure in reader.failures():
                console.say(_failure_line(failure))
                count += 1
            if not count:
                console.say("No file failed.")
    return SOME_FAILED if count and arguments.exit_code else OK


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
