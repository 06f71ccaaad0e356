"""`show`: what is known of one file."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ..calls.kept_texts import answer_text, request_text
from ..core.text import counted, dollars, visible
from ..costs.figures import usd_text
from ..journal import Attempt, FileDetail, JournalReader
from ..view.place import journal_folder
from . import console, words
from .exits import OK
from .place import add_place

_ANSWER_CHARACTERS = 200


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_place(parser)
    parser.add_argument("file", metavar="FILE", help="as it lies below the input folder")
    parser.add_argument("--full", action="store_true", help="answers and traceback whole")
    parser.add_argument("--json", action="store_true", help="print it as JSON, answers whole")


def run(arguments: argparse.Namespace) -> int:
    """Print a file's state, outputs, requests and answers."""
    with JournalReader(journal_folder(arguments.output_path, arguments.state_path)) as reader:
        detail = reader.file(arguments.file.removeprefix("./"))
    if arguments.json:
        console.say_json(_as_json(detail))
    else:
        console.say("\n".join(_lines(detail, is_full=arguments.full)))
    return OK


def _lines(detail: FileDetail, *, is_full: bool) -> Iterator[str]:
    file = detail.file
    state = file.state.value if file.state else "not begun"
    often = f", failed in {counted(file.failed_runs, 'run')}" if file.failed_runs else ""
    yield f"{visible(file.path)}: {state}{often}"
    if detail.failure is not None:
        yield f"  {detail.failure.kind}: {visible(detail.failure.message)}"
        if is_full and detail.failure.trace:
            yield from _indented(detail.failure.trace)
    for output in detail.outputs:
        yield f"  output {visible(output.final)}, {counted(output.size_bytes, 'byte')}"
    newest, how = _made_of(detail)
    if how:
        yield f"  {how}"
    for attempt in detail.attempts:
        yield f"  {'* ' if attempt.id in newest else ''}{_attempt_words(attempt)}"
        asked = request_text(attempt.request)
        if asked is not None:
            yield from _indented(asked if is_full else words.shorten(asked, _ANSWER_CHARACTERS))
        text = answer_text(attempt.answer)
        if text is not None:
            yield from _indented(text if is_full else words.shorten(text, _ANSWER_CHARACTERS))


def _made_of(detail: FileDetail) -> tuple[set[int], str]:
    """Return which answers its outputs were surely made of, and that in words.

    Only where several runs were answered: what a hook was given again of earlier runs is not kept.
    """
    run_id, answered = detail.done_run_id, [
        attempt for attempt in detail.attempts if attempt.ending and attempt.ending.kind.is_answer
    ]  # fmt: skip
    newest = {attempt.id for attempt in answered if attempt.run_id == run_id}
    if run_id is None or len(newest) == len(answered):
        return set(), ""
    if not newest:
        return newest, f"made in run {run_id:,} of answers that were kept: nothing was asked anew"
    again = "and of kept ones wherever the hooks asked the same again"
    return newest, f"made in run {run_id:,} of the answers marked *, {again}"


def _indented(text: str) -> Iterator[str]:
    return (f"    {visible(line)}" for line in text.splitlines())


def _attempt_words(attempt: Attempt) -> str:
    again = f", try {attempt.attempt_try + 1}" if attempt.attempt_try else ""
    head = f"{words.moment(attempt.started_wall_s)} {attempt.model} by {attempt.key_name}{again}:"
    ending = attempt.ending
    if ending is None:
        most = "" if attempt.max_cost_usd is None else f", at most {dollars(attempt.max_cost_usd)}"
        return f"{head} no end (in flight, or lost with its process: maybe billed{most})"
    parts = [ending.kind.value + (f" ({ending.code})" if ending.code else "")]
    if ending.prompt_tokens is not None:
        parts.append(f"{ending.prompt_tokens:,} + {ending.completion_tokens or 0:,} tokens")
    if ending.cost_usd is not None:
        parts.append(dollars(ending.cost_usd))
    elif ending.prompt_tokens is not None:
        parts.append("cost unknown")
    took_s = ending.service_s
    if took_s is None:
        took_s = ending.ended_wall_s - attempt.started_wall_s
    parts.append(f"{took_s:.1f} s{_waited_words(attempt)}")
    return f"{head} {', '.join(parts)}" + (f"; {visible(ending.message)}" if ending.message else "")


def _waited_words(attempt: Attempt) -> str:
    return f" after {attempt.waited_s:.1f} s for {attempt.wait_reason}" * (attempt.waited_s >= 0.1)


def _as_json(detail: FileDetail) -> dict[str, Any]:
    file = detail.file
    return {
        "file": file.path,
        "state": file.state.value if file.state else None,
        "failed_runs": file.failed_runs,
        "failure": detail.failure and asdict(detail.failure),
        "outputs": [
            {"path": o.final, "size_bytes": o.size_bytes, "sha256": o.sha256}
            for o in detail.outputs
        ],
        "done_run": detail.done_run_id,
        "attempts": [_attempt_json(attempt) for attempt in detail.attempts],
    }


def _attempt_json(attempt: Attempt) -> dict[str, Any]:
    ending = attempt.ending
    return {
        "run": attempt.run_id,
        "hash": attempt.hash,
        "k": attempt.k,
        "try": attempt.attempt_try,
        "key": attempt.key_name,
        "model": attempt.model,
        "started_wall_s": attempt.started_wall_s,
        "waited_s": attempt.waited_s,
        "wait_reason": attempt.wait_reason,
        "max_cost_usd": usd_text(attempt.max_cost_usd),
        "ending": ending
        and {
            **asdict(ending),
            "kind": ending.kind.value,
            "cost_usd": usd_text(ending.cost_usd),
        },
        "request": request_text(attempt.request),
        "answer": answer_text(attempt.answer),
    }
