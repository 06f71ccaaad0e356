"""Sort the results of an input's rounds: what is answered, what failed, what is asked again.

Works line by line over local files; what it remembers is the ids of an input's lines.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, BinaryIO

from ...batch.judgement import line_cost_usd
from ...batch.service import ResultLine, lines_in, read_result
from ...calls.models import make_request
from ...calls.refusals import Clean
from ...calls.responses import parse_object
from ...calls.usage import read_usage
from ...core.errors import UsageError
from ...core.file_kinds import exists
from ...core.filesystem import new_file
from ...core.records import Outcome, OutcomeKind, Reply, Usage
from ...costs.prices import PriceBook
from .job import LineFigures
from .safe_lines import safe_line

_MARK = b"\xef\xbb\xbf"
#: How often a line is asked again that may be billed and whose answer is not known.
_MOST_UNKNOWN = 1

#: Says what a line of results is, and the answer if there is one.
Judge = Callable[[ResultLine], "tuple[Outcome, Reply | None]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundFiles:
    """Where one round's lines and results lie; each result may be missing."""

    lines: str
    output: str
    error: str
    #: How lines ended of which the results say nothing.
    rest: Outcome
    #: Whether those are not asked again.
    is_last: bool = False

    @property
    def has_results(self) -> bool:
        """Whether any are there."""
        return exists(self.output) or exists(self.error)


@dataclass(slots=True)
class Sorted:
    """Which lines are answered and which failed for good; all others may be asked again."""

    answered: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    _unknown: Counter[str] = field(default_factory=Counter)

    def is_open(self, custom_id: str) -> bool:
        """Whether a line has neither an answer nor a lasting refusal."""
        return custom_id not in self.answered and custom_id not in self.refused

    def failed(self, custom_id: str, outcome: Outcome, *, is_last: bool = False) -> None:
        """Note that a line got no answer."""
        if outcome.kind is OutcomeKind.UNKNOWN:
            self._unknown[custom_id] += 1
            is_last = is_last or self._unknown[custom_id] > _MOST_UNKNOWN
        if is_last or outcome.kind is OutcomeKind.REJECTED:
            self.refused.add(custom_id)


def sort_results(rounds: Sequence[RoundFiles], judge: Judge) -> Sorted:
    """Read all results of an input's rounds."""
    found = Sorted()
    for files in rounds:
        said = set()
        for _, result in results_of(files.output, files.error):
            outcome, answer = judge(result)
            said.add(result.custom_id)
            if answer is not None:
                found.answered.add(result.custom_id)
            else:
                found.failed(result.custom_id, outcome)
        for _, custom_id in input_lines(files.lines):
            if custom_id not in said:
                found.failed(custom_id, files.rest, is_last=files.is_last)
    return found


def write_rest(input_path: str, rest_path: str, found: Sorted) -> int:
    """Write the lines that are still open to `rest_path`; return how many they are."""
    count = 0
    with open(rest_path, "wb", opener=new_file) as rest:
        for line, custom_id in input_lines(input_path):
            if found.is_open(custom_id):
                rest.write(line)
                count += 1
        sync(rest)
    return count


def write_refused(
    lines_path: str, error_path: str, refused: Mapping[int, Outcome], *, is_more: bool
) -> None:
    """Write as results what lines were told, by their number, that made a whole batch fail.

    Args:
        is_more: what is there is kept.
    """
    with open(
        error_path, "ab" if is_more else "wb", opener=None if is_more else new_file
    ) as errors:
        for number, (_, custom_id) in enumerate(input_lines(lines_path), start=1):
            if number in refused:
                told = {"code": refused[number].code, "message": refused[number].message}
                reply = {"status_code": 400, "request_id": "", "body": {"error": told}}
                line = {"custom_id": custom_id, "response": reply, "error": None}
                errors.write(json.dumps(line).encode() + b"\n")
        sync(errors)


def write_results(
    input_path: str,
    rounds: Sequence[RoundFiles],
    judge: Judge,
    *,
    output_path: str,
    error_path: str,
    clean: Clean,
    prices: PriceBook,
    model: str,
) -> LineFigures:
    """Merge the rounds into one file of answers and one of errors, each line in one of them.

    A file that would be empty is not written. Result lines that belong to no input line are left
    out and counted.

    Args:
        clean: takes secrets out of what is no answer.
        model: of all lines.
    """
    waiting = {custom_id for _, custom_id in input_lines(input_path)}
    known = frozenset(waiting)
    figures, unmatched = LineFigures(), set[str]()
    with _unless_empty(output_path) as output:
        for files in rounds:
            for line, result in results_of(files.output, files.error):
                if result.custom_id not in known:
                    unmatched.add(result.custom_id)
                elif result.custom_id in waiting and judge(result)[1] is not None:
                    waiting.discard(result.custom_id)
                    output.write(safe_line(line, result, clean, is_answer=True))
                    figures = _counted(figures, result, prices, model)
    failed = len(waiting)
    with _unless_empty(error_path) as errors:
        for files in reversed(rounds):  # the last word on each line
            for line, result in results_of(files.output, files.error):
                if result.custom_id in waiting:
                    waiting.discard(result.custom_id)
                    errors.write(safe_line(line, result, clean, is_answer=False))
        rest = rounds[-1].rest
        told = {"code": rest.code, "message": rest.message}
        for custom_id in sorted(waiting):
            silent = {"custom_id": custom_id, "response": None, "error": told}
            errors.write(json.dumps(silent).encode() + b"\n")
    return replace(figures, failed=failed, unmatched=len(unmatched))


def with_doubts(
    figures: LineFigures, rounds: Sequence[RoundFiles], judge: Judge, prices: PriceBook
) -> LineFigures:
    """Add what lines can have cost at most that may be billed while nothing says how much.

    There are three cases: an answer without usage, an error that is not of the line's own, and a
    line of which a batch that worked, or was lost, says nothing.
    """
    for files in rounds:
        is_silence_doubtful = files.rest.kind is OutcomeKind.UNKNOWN
        doubts = {
            result.custom_id: _is_in_doubt(*judge(result))  # the last word on each line
            for _, result in results_of(files.output, files.error)
        }
        if not (is_silence_doubtful or any(doubts.values())):
            continue
        for line, custom_id in input_lines(files.lines):
            if doubts.get(custom_id, is_silence_doubtful):
                most_usd = _most_usd(line, prices)
                figures = replace(
                    figures,
                    in_doubt=figures.in_doubt + 1,
                    doubt_usd=figures.doubt_usd + (most_usd or 0),
                    unpriced=figures.unpriced + (most_usd is None),
                )
    return figures


def _is_in_doubt(outcome: Outcome, answer: Reply | None) -> bool:
    if answer is None:
        return outcome.kind is OutcomeKind.UNKNOWN
    return outcome.usage is None


def _most_usd(line: bytes, prices: PriceBook) -> Decimal | None:
    """Return the most that a line of an input can have cost; None: that is not known."""
    raw = parse_object(line) or {}
    body, url = raw.get("body"), str(raw.get("url")).removeprefix("/v1")
    try:
        model = str(body["model"]) if isinstance(body, dict) else ""
        return prices.max_cost_usd(make_request(url, model, body), is_batch=True)
    except (KeyError, UsageError):  # it cannot be told what it asks for
        return None


def _counted(
    figures: LineFigures, result: ResultLine, prices: PriceBook, model: str
) -> LineFigures:
    raw: dict[str, Any] = parse_object(result.body) or {}
    found = read_usage(raw)
    cost_usd = line_cost_usd(prices, model, result.body, found)
    return replace(
        figures,
        answered=figures.answered + 1,
        usage=figures.usage + (found or Usage()),
        cost_usd=figures.cost_usd + (cost_usd or 0),
        # Without usage it is in doubt.
        unpriced=figures.unpriced + (found is not None and cost_usd is None),
    )


def results_of(*paths: str) -> Iterator[tuple[bytes, ResultLine]]:
    """Yield the lines of result files, those that are there, and what they say."""
    for path in paths:
        with suppress(FileNotFoundError), open(path, "rb") as file:
            for line in lines_in(file):
                result = read_result(line)
                if result is not None:
                    yield line.rstrip(b"\r\n") + b"\n", result


def input_lines(path: str) -> Iterator[tuple[bytes, str]]:
    """Yield the lines of a batch file, without a byte order mark, and their custom_ids."""
    with open(path, "rb") as source:
        for line in source:
            plain = line.removeprefix(_MARK).rstrip(b"\r\n") + b"\n"
            raw = parse_object(plain)
            if raw is not None:
                yield plain, str(raw.get("custom_id"))


def write_whole(path: str, content: bytes) -> None:
    """Write a small file and bring it to the disk; a crash may leave a part of it."""
    with open(path, "wb", opener=new_file) as file:
        file.write(content)
        sync(file)


def sync(file: BinaryIO) -> None:
    """Bring what was written to the disk."""
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def _unless_empty(path: str) -> Iterator[BinaryIO]:
    """Open a file for writing, bring it to the disk, and take it away if it is empty."""
    with open(path, "wb", opener=new_file) as file:
        yield file
        sync(file)
        is_empty = file.tell() == 0
    if is_empty:
        os.unlink(path)
