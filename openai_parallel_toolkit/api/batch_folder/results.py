"""Sort the results of an input's rounds: what is answered, what failed, what is asked again.

Works line by line over local files; what it remembers is the ids of an input's lines.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, BinaryIO

from ...batch.service import ResultLine, read_result
from ...calls.models import make_request
from ...calls.responses import parse_object, read_usage
from ...core.errors import UsageError
from ...core.records import Usage
from ...costs.prices import BATCH_SHARE, PriceBook
from .job import Figures
from .shelf import sync

#: HTTP statuses of lines that may well be answered when asked again.
_PASSING = frozenset({408, 409, 425, 429})
#: Lines that a batch did not come to before it ended; they are not billed.
#: Source: https://platform.openai.com/docs/guides/batch, "Batch expiration" (2026-11).
_NOT_ASKED = frozenset({"batch_expired", "batch_cancelled"})
_NOT_ANSWERED = {
    "code": "not_answered",
    "message": "The batch ended without an answer or an error for this line.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundFiles:
    """Where one round's lines and results lie; each result may be missing."""

    input: str
    output: str
    error: str
    #: Whether a line that the results say nothing of may be billed all the same.
    is_silence_doubtful: bool = False


@dataclass(slots=True)
class Sorted:
    """Which lines are answered and which failed for good; all others may be asked again."""

    answered: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)

    def is_open(self, custom_id: str) -> bool:
        """Whether a line has neither an answer nor a lasting refusal."""
        return custom_id not in self.answered and custom_id not in self.refused


def sort_results(rounds: Sequence[RoundFiles]) -> Sorted:
    """Read all results of an input's rounds."""
    found = Sorted()
    for files in rounds:
        for _, result in _results(files):
            if is_answer(result):
                found.answered.add(result.custom_id)
            elif _is_lasting(result):
                found.refused.add(result.custom_id)
    return found


def write_rest(input_path: str, rest_path: str, found: Sorted) -> int:
    """Write the lines that are still open to `rest_path`; return how many they are."""
    count = 0
    with open(input_path, "rb") as source, open(rest_path, "wb") as rest:
        for line, custom_id in _input_lines(source):
            if found.is_open(custom_id):
                rest.write(line.rstrip(b"\r\n") + b"\n")
                count += 1
        sync(rest)
    return count


def write_results(
    input_path: str,
    rounds: Sequence[RoundFiles],
    *,
    output_path: str,
    error_path: str,
    prices: PriceBook,
) -> Figures:
    """Merge the rounds into one file of answers and one of errors, each line in one of them.

    A file that would be empty is not written. Result lines that belong to no input line are left
    out and counted.
    """
    with open(input_path, "rb") as source:
        waiting = {custom_id for _, custom_id in _input_lines(source)}
    known = frozenset(waiting)
    figures, strangers = Figures(), set[str]()
    with _unless_empty(output_path) as output:
        for files in rounds:
            for line, result in _results(files):
                if result.custom_id not in known:
                    strangers.add(result.custom_id)
                elif is_answer(result) and result.custom_id in waiting:
                    waiting.discard(result.custom_id)
                    output.write(line)
                    figures = _counted(figures, result, prices)
    failed = len(waiting)
    with _unless_empty(error_path) as errors:
        for files in reversed(rounds):  # the last word on each line
            for line, result in _results(files):
                if result.custom_id in waiting:
                    waiting.discard(result.custom_id)
                    errors.write(line)
        for custom_id in sorted(waiting):
            silent = {"custom_id": custom_id, "response": None, "error": _NOT_ANSWERED}
            errors.write(json.dumps(silent).encode() + b"\n")
    return replace(figures, failed=failed, strangers=len(strangers))


def with_doubts(figures: Figures, rounds: Sequence[RoundFiles], prices: PriceBook) -> Figures:
    """Add what lines can have cost at most that may be billed while nothing says how much.

    There are three cases: an answer without usage, an error that is not of the line's own, and a
    line of which a batch that worked, or was lost, says nothing.
    """
    for files in rounds:
        doubts = {
            result.custom_id: _is_in_doubt(result)  # the last word on each line
            for _, result in _results(files)
        }
        if not (files.is_silence_doubtful or any(doubts.values())):
            continue
        with open(files.input, "rb") as source:
            for line, custom_id in _input_lines(source):
                if doubts.get(custom_id, files.is_silence_doubtful):
                    most_usd = _most_usd(line, prices)
                    figures = replace(
                        figures,
                        in_doubt=figures.in_doubt + 1,
                        doubt_usd=figures.doubt_usd + (most_usd or 0),
                        unpriced=figures.unpriced + (most_usd is None),
                    )
    return figures


def _is_in_doubt(result: ResultLine) -> bool:
    if result.status is None:
        return result.code not in _NOT_ASKED
    return is_answer(result) and read_usage(parse_object(result.body) or {}) is None


def _most_usd(line: bytes, prices: PriceBook) -> Decimal | None:
    """Return the most that a line of an input can have cost; None: that is not known."""
    raw = parse_object(line.removeprefix(b"\xef\xbb\xbf")) or {}
    body, url = raw.get("body"), str(raw.get("url")).removeprefix("/v1")
    try:
        model = str(body["model"]) if isinstance(body, dict) else ""
        live_usd = prices.max_cost_usd(make_request(url, model, body))
    except (KeyError, UsageError):  # it cannot be told what it asks for
        return None
    return None if live_usd is None else BATCH_SHARE * live_usd


def is_answer(result: ResultLine) -> bool:
    """Whether a line was answered with what it asked for."""
    return result.status is not None and 200 <= result.status < 300


def _is_lasting(result: ResultLine) -> bool:
    status = result.status
    return status is not None and 400 <= status < 500 and status not in _PASSING


def _counted(figures: Figures, result: ResultLine, prices: PriceBook) -> Figures:
    raw: dict[str, Any] = parse_object(result.body) or {}
    found, before = read_usage(raw), figures.usage
    usage = found or Usage()
    cost_usd = prices.cost_usd(str(raw.get("model") or ""), found)
    return replace(
        figures,
        answered=figures.answered + 1,
        usage=Usage(
            prompt_tokens=before.prompt_tokens + usage.prompt_tokens,
            completion_tokens=before.completion_tokens + usage.completion_tokens,
            cached_tokens=before.cached_tokens + usage.cached_tokens,
        ),
        cost_usd=figures.cost_usd + BATCH_SHARE * (cost_usd or 0),
        # Without usage it is in doubt.
        unpriced=figures.unpriced + (found is not None and cost_usd is None),
    )


def _results(files: RoundFiles) -> Iterator[tuple[bytes, ResultLine]]:
    for path in (files.output, files.error):
        with suppress(FileNotFoundError), open(path, "rb") as file:
            for line in file:
                result = read_result(line)
                if result is not None:
                    yield line.rstrip(b"\r\n") + b"\n", result


def _input_lines(source: BinaryIO) -> Iterator[tuple[bytes, str]]:
    for line in source:
        raw = parse_object(line.removeprefix(b"\xef\xbb\xbf"))
        if raw is not None:
            yield line, str(raw.get("custom_id"))


@contextmanager
def _unless_empty(path: str) -> Iterator[BinaryIO]:
    """Open a file for writing, bring it to the disk, and take it away if it is empty."""
    with open(path, "wb") as file:
        yield file
        sync(file)
        is_empty = file.tell() == 0
    if is_empty:
        os.unlink(path)
