"""The door of hooks' calls: their lines go out, answers are kept, and the rest goes again."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

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
from .service import ResultLine, line_url, lines_in, read_result, request_line
from .submit import Door
from .surplus import Surplus

#: Of a number that a journal can hold.
_MOST_DIGITS = 18
_PAGE, _PAGE_BYTES = 200, 16_000_000


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
        lines = (line for path in paths for page in _pages(path) for line in page)
        ours = (one for one in map(read_result, lines) if one and attempt_of(one.custom_id))
        return sum(self._judge(batch, result)[1] is not None for result in ours)

    async def take_in(
        self, batch: BatchRecord, end: BatchEnd, lease: Lease, paths: Sequence[str]
    ) -> Outcome | None:
        surplus, others = Surplus(), dict[int, LineEnd]()
        for path in paths:
            for lines in _pages(path):
                answers = self._answers(batch, lines, lease, surplus, others)
                self._settle(batch, list(answers.values()), lease)
                await asyncio.sleep(0)
        for ends in _split(list(others.values())):
            self._settle(batch, ends, lease)
        against = (end.outcome for end in others.values() if end.outcome.kind in OF_THE_KEY)
        blame = next(against, None)
        # By their place in the file, the lines that no result spoke of.
        pages = self.store.sent(batch)
        if end.refused:  # all together: after a crash in between, the numbers would be others
            pages = iter([list(itertools.chain.from_iterable(pages))])
        numbers, silent = itertools.count(1), 0
        for page in pages:
            silent += len(page)
            outcomes = ((sent, end.refused.get(next(numbers), end.rest)) for sent in page)
            ends = [self._end(sent, outcome, is_last=end.is_last) for sent, outcome in outcomes]
            self._settle(batch, ends, lease)
        if len(surplus.taken) + silent < batch.lines:  # an earlier process has begun
            surplus.strangers = {name for name in surplus.strangers if attempt_of(name) is None}
        surplus.tell(f"batch {batch.id}")
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

    def _answers(
        self,
        batch: BatchRecord,
        lines: Sequence[bytes],
        lease: Lease,
        surplus: Surplus,
        others: dict[int, LineEnd],
    ) -> dict[int, LineEnd]:
        """Return the first good answer to each attempt; the first word on others is `others`."""
        results = list(filter(None, map(read_result, lines)))
        ids = [attempt_of(result.custom_id) for result in results]
        known = self.store.find(batch, [n for n in ids if n is not None])
        answers: dict[int, LineEnd] = {}
        for n, result in zip(ids, results, strict=True):
            is_new, differs = surplus.is_new(result.custom_id), surplus.note(result)
            sent = None if n is None else known.get(n)
            if n is None or sent is None or n in answers:
                if is_new:
                    surplus.strangers.add(result.custom_id)
                elif differs:
                    surplus.cost_usd += self._cost_usd(batch, result, lease) or 0
                continue
            surplus.taken.add(n)
            end = self._result(batch, sent, result, lease.azure_deployment)
            if end.outcome.kind is OutcomeKind.OK:
                answers[n] = end
                others.pop(n, None)
            elif n not in others or end.outcome.kind.is_answer > others[n].outcome.kind.is_answer:
                others[n] = end
        return answers

    def _cost_usd(self, batch: BatchRecord, result: ResultLine, lease: Lease) -> Decimal | None:
        usage = self._judge(batch, result)[0].usage
        deployment = lease.azure_deployment
        return line_cost_usd(self.context.prices, batch.model, result.body, usage, deployment)

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
            self.context.tally.ended(lease._replace(need=need), end.outcome, end.cost_usd)

    def _path(self, batch: BatchRecord, what: str) -> str:
        return os.path.join(self.folder, f"{batch.token}.{what}.jsonl")


def custom_id(attempt_id: int) -> str:
    """Return what a line is called in its batch."""
    return f"attempt-{attempt_id}"


def attempt_of(custom_id: str) -> int | None:
    """Return the attempt that a line stands for; None: it is none of ours."""
    head, _, number = custom_id.partition("-")
    is_ours = head == "attempt" and number.isdecimal() and len(number) <= _MOST_DIGITS
    return int(number) if is_ours else None


def _write(path: str, lines: Iterable[bytes]) -> None:
    try:
        with open(path, "wb", opener=new_file) as file:
            checkpoint("batch.writing")
            file.writelines(lines)
    except OSError as exc:
        raise storage_error(exc, path) from exc


def _pages(path: str) -> Iterator[list[bytes]]:
    """Yield some lines of a file at a time: not too many, and not too much."""
    page: list[bytes] = []
    with open(path, "rb") as file:
        for line in lines_in(file):
            page.append(line)
            if len(page) == _PAGE or sum(map(len, page)) > _PAGE_BYTES:
                yield page
                page = []
    if page:
        yield page


def _split(ends: Sequence[LineEnd]) -> Iterator[Sequence[LineEnd]]:
    return (ends[start : start + _PAGE] for start in range(0, len(ends), _PAGE))
