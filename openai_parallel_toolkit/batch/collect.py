"""The door of hooks' calls: their lines go out, answers are kept, and the rest goes again."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from ..calls.model_parameters import ModelParameters
from ..calls.refusals import Clean
from ..calls.run_context import RunContext
from ..core.checkpoint import checkpoint
from ..core.clock import Clock
from ..core.filesystem import new_file, storage_error
from ..core.records import Lease, Need, Outcome, OutcomeKind, canonical_json
from ..journal.batch_rows import BatchRecord, LineEnd, Refusal, Sent
from ..journal.batch_store import BatchStore
from .batch_budget import BatchBudget
from .judgement import OF_THE_KEY, UNCOUNTED, BatchEnd, judge_line, line_cost_usd
from .service import ResultLine, line_url, read_result, request_line
from .submit import Door

_PAGE = 200


@dataclass(eq=False)
class CallLines(Door):
    """The lines of batches are hooks' calls; all of it can be done again after a crash."""

    store: BatchStore
    #: Its policy says how often a line is sent before it is given up.
    context: RunContext
    budget: BatchBudget
    #: For files on their way.
    folder: str
    clock: Clock
    clean: Clean
    #: Batches whose lines this run has counted as sent.
    counted: set[int] = field(default_factory=set)
    parameters: ModelParameters = field(default_factory=ModelParameters)

    # -- there ---------------------------------------------------------------------------------

    def lines_path(self, batch: BatchRecord, lease: Lease) -> str:
        path = self._path(batch, "input")
        _write(path, self._lines(batch, lease))
        return path

    def sent(self, batch: BatchRecord, lease: Lease) -> None:
        self.clear(batch)
        self.counted.add(batch.id)
        for _ in range(batch.lines):
            self.context.tally.sent(lease)

    def _lines(self, batch: BatchRecord, lease: Lease) -> Iterable[bytes]:
        url = line_url(lease, batch.path)
        deployment = lease.azure_deployment
        for attempt_id, body in self.store.bodies(batch):
            named = self.parameters.fitted(batch.path, batch.model, body)
            if deployment is not None and deployment != batch.model:
                named = canonical_json({**json.loads(named), "model": deployment})
            yield request_line(custom_id(attempt_id), url, named)

    # -- and back ------------------------------------------------------------------------------

    def result_paths(self, batch: BatchRecord) -> tuple[str, str]:
        return self._path(batch, "output"), self._path(batch, "error")

    def count_answers(self, batch: BatchRecord, paths: Sequence[str]) -> int:
        results = (result for path in paths for page in _pages(path) for _, result in _read(page))
        return sum(self._judge(batch, result)[1] is not None for result in results)

    async def take_in(
        self, batch: BatchRecord, end: BatchEnd, lease: Lease, paths: Sequence[str]
    ) -> Outcome | None:
        blame = None
        for path in paths:
            for lines in _pages(path):
                results = dict(_read(lines))
                known = self.store.find(batch, list(results))
                found = ((known[n], results[n]) for n in results if n in known)
                ends = [self._result(batch, *one, lease.azure_deployment) for one in found]
                self._settle(batch, ends, lease)
                against = (one.outcome for one in ends if one.outcome.kind in OF_THE_KEY)
                blame = blame or next(against, None)
                await asyncio.sleep(0)
        # By their place in the file, the lines that no result spoke of.
        pages = self.store.sent(batch)
        if end.refused:  # all together: after a crash in between, the numbers would be others
            pages = iter([list(itertools.chain.from_iterable(pages))])
        numbers = itertools.count(1)
        for page in pages:
            outcomes = ((sent, end.refused.get(next(numbers), end.rest)) for sent in page)
            ends = [self._end(sent, outcome, is_last=end.is_last) for sent, outcome in outcomes]
            self._settle(batch, ends, lease)
        return blame

    def clear(self, batch: BatchRecord) -> None:
        for what in ("input", "output", "error"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(batch, what))

    def put_back(self, batch: BatchRecord) -> None:
        """Queue the lines of a batch that was not made again."""
        outcome = Outcome(kind=OutcomeKind.UNSENT, code="no_batch")
        for page in self.store.sent(batch):
            self.store.settle([self._end(sent, outcome) for sent in page])

    def _judge(self, batch: BatchRecord, result: ResultLine) -> tuple[Outcome, object | None]:
        wall_s = self.clock.wall_s()
        return judge_line(result, batch.path, wall_s=wall_s, clean=self.clean)

    def _result(
        self, batch: BatchRecord, sent: Sent, result: ResultLine, deployment: str | None
    ) -> LineEnd:
        outcome, answer = self._judge(batch, result)
        if answer is None:
            if self.parameters.learn(batch.path, batch.model, result.body):
                outcome = replace(outcome, kind=OutcomeKind.BUSY)
            return self._end(sent, outcome)
        prices = self.context.prices
        cost_usd = line_cost_usd(prices, batch.model, result.body, outcome.usage, deployment)
        return LineEnd(sent=sent, outcome=outcome, cost_usd=cost_usd, body=result.body)

    def _end(self, sent: Sent, outcome: Outcome, *, is_last: bool = False) -> LineEnd:
        is_counted = outcome.kind not in UNCOUNTED
        is_final = is_last or outcome.kind is OutcomeKind.REJECTED
        refusal = None
        if is_counted and (is_final or sent.sends > self._most_retries(outcome)):
            refusal = Refusal.of(outcome, sent.sends)
        return LineEnd(
            sent=sent, outcome=outcome, cost_usd=None, refusal=refusal, is_counted=is_counted
        )

    def _most_retries(self, outcome: Outcome) -> int:
        if outcome.kind is OutcomeKind.UNKNOWN:  # each of them may be billed
            return min(self.context.policy.max_unknown, self.context.policy.max_retries)
        return self.context.policy.max_retries

    def _settle(self, batch: BatchRecord, ends: Sequence[LineEnd], lease: Lease) -> None:
        """Make the ends of lines durable and count them."""
        if not ends:
            return
        self.store.settle(ends)
        self.budget.settle(batch.id, ends)
        for end in ends:
            if end.outcome.kind is OutcomeKind.UNSENT and batch.id not in self.counted:
                continue
            need = Need(model=batch.model, tokens=0, max_cost_usd=end.sent.max_cost_usd)
            self.context.tally.ended(replace(lease, need=need), end.outcome, end.cost_usd)

    def _path(self, batch: BatchRecord, what: str) -> str:
        return os.path.join(self.folder, f"{batch.token}.{what}.jsonl")


def custom_id(attempt_id: int) -> str:
    """Return what a line is called in its batch."""
    return f"attempt-{attempt_id}"


def attempt_of(custom_id: str) -> int | None:
    """Return the attempt that a line stands for; None: it is none of ours."""
    head, _, number = custom_id.partition("-")
    return int(number) if head == "attempt" and number.isdecimal() else None


def _write(path: str, lines: Iterable[bytes]) -> None:
    try:
        with open(path, "wb", opener=new_file) as file:
            checkpoint("batch.writing")
            file.writelines(lines)
    except OSError as exc:
        raise storage_error(exc, path) from exc


def _pages(path: str) -> Iterator[list[bytes]]:
    with open(path, "rb") as lines:
        while page := list(itertools.islice(lines, _PAGE)):
            yield page


def _read(lines: Sequence[bytes]) -> Iterator[tuple[int, ResultLine]]:
    for line in lines:
        result = read_result(line)
        attempt_id = None if result is None else attempt_of(result.custom_id)
        if result is not None and attempt_id is not None:
            yield attempt_id, result
