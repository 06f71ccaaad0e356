"""Take in what a batch brought: answers are kept, refusals told, and the rest goes again."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import os
from collections.abc import Iterator, Sequence

from ..calls.attempts import Policy
from ..calls.classify import Clean, classify
from ..calls.run_context import RunContext
from ..core.checkpoint import checkpoint
from ..core.clock import Clock
from ..core.records import Lease, Need, Outcome, OutcomeKind, RawReply
from ..costs.prices import BATCH_SHARE
from ..journal.batch_rows import BatchRecord, LineEnd, Refusal, Sent, Stage
from ..journal.batch_store import BatchStore
from .batch_budget import BatchBudget
from .service import BatchIssue, BatchService, RemoteBatch, ResultLine, read_result
from .submit import attempt_of

_PAGE = 200
#: Lines that a batch did not come to before it ended; they are not billed.
#: Source: https://platform.openai.com/docs/guides/batch, "Batch expiration" (2026-11).
_NOT_ASKED = frozenset({"batch_expired", "batch_cancelled"})
#: What is wrong with the key, and not with the line.
_OF_THE_KEY = frozenset({OutcomeKind.KEY_DEAD, OutcomeKind.NOT_HERE})


class Collector:
    """Reads the results of batches into the journal; all of it can be done again after a crash."""

    def __init__(
        self,
        book: BatchStore,
        context: RunContext,
        purse: BatchBudget,
        *,
        clock: Clock,
        clean: Clean,
        policy: Policy,
    ) -> None:
        """`policy` says how often a line is sent again before it is given up."""
        self._book = book
        self._context = context
        self._purse = purse
        self._clock = clock
        self._clean = clean
        self._policy = policy

    async def collect(
        self, batch: BatchRecord, remote: RemoteBatch, service: BatchService, path: str
    ) -> Outcome | None:
        """Keep what a batch that is over has brought; `path` is where its files are put.

        Returns what a line was told that speaks against the batch's key; None: nothing.
        """
        blame = None
        for file_id in (remote.output_file_id, remote.error_file_id):
            if file_id is not None:
                await service.download(file_id, path)
                checkpoint("batch.downloaded")
                for lines in _pages(path):
                    blame = self._take_in(batch, lines, service.lease) or blame
                    await asyncio.sleep(0)
                os.unlink(path)
        checkpoint("batch.results_kept")
        self._end_rest(batch, remote, service.lease)
        self._book.move_on(batch, Stage.COLLECTED)
        return blame

    def _end_rest(self, batch: BatchRecord, remote: RemoteBatch, lease: Lease) -> None:
        """End the lines that no result spoke of."""
        blamed = {issue.line: issue for issue in remote.errors if issue.line is not None}
        numbers = itertools.count(1)
        for page in self._book.sent(batch):
            ends = []
            for sent in page:
                issue = blamed.get(next(numbers))
                outcome = self._left_out(remote) if issue is None else self._refused(issue)
                ends.append(self._end(sent, outcome, None))
            self.settle(batch, ends, lease)

    def _refused(self, issue: BatchIssue) -> Outcome:
        told = self._clean(issue.message)
        return Outcome(kind=OutcomeKind.REJECTED, code=issue.code or "invalid_line", message=told)

    def _left_out(self, remote: RemoteBatch) -> Outcome:
        """Return how a line ended of which the results say nothing."""
        if remote.status == "completed":
            told = "the batch is completed, and its results say nothing of this line"
            return Outcome(kind=OutcomeKind.UNKNOWN, code="no_result", message=told)
        issue = next(iter(remote.errors), None)
        return Outcome(
            kind=OutcomeKind.BUSY,
            code=(issue.code if issue else "") or f"batch_{remote.status}",
            message=self._clean(issue.message) if issue else f"the batch is {remote.status}",
        )

    def give_up(self, batch: BatchRecord, outcome: Outcome, lease: Lease) -> None:
        """End all lines of a batch alike: it was refused as a whole, or has vanished."""
        for page in self._book.sent(batch):
            self.settle(batch, [self._end(sent, outcome, None) for sent in page], lease)

    def put_back(self, batch: BatchRecord, counted: Lease | None = None) -> None:
        """Queue the lines of a batch that the provider does not have, as if nothing had been.

        Args:
            counted: under which they were counted as sent; None: they were not.
        """
        outcome = Outcome(kind=OutcomeKind.UNSENT, code="no_batch")
        for page in self._book.sent(batch):
            ends = [LineEnd(sent=sent, outcome=outcome, cost_usd=None) for sent in page]
            self._book.settle(ends, is_sent=False)
            self._purse.settle(batch.id, ends)
            if counted is not None:
                for _ in ends:
                    self._context.tally.ended(counted, outcome, None)

    def settle(self, batch: BatchRecord, ends: Sequence[LineEnd], lease: Lease) -> None:
        """Make the ends of lines durable and count them."""
        if not ends:
            return
        self._book.settle(ends)
        self._purse.settle(batch.id, ends)
        for end in ends:
            need = Need(model=batch.model, tokens=0, max_cost_usd=end.sent.max_cost_usd)
            owned = dataclasses.replace(lease, need=need)
            self._context.tally.ended(owned, end.outcome, end.cost_usd)

    def _take_in(self, batch: BatchRecord, lines: Sequence[bytes], lease: Lease) -> Outcome | None:
        results = dict(_read(lines))
        known = self._book.find(batch, list(results))
        ends = [self._result(batch, known[n], results[n]) for n in results if n in known]
        self.settle(batch, ends, lease)
        return next((end.outcome for end in ends if end.outcome.kind in _OF_THE_KEY), None)

    def _result(self, batch: BatchRecord, sent: Sent, result: ResultLine) -> LineEnd:
        if result.status is None:
            kind = OutcomeKind.BUSY if result.code in _NOT_ASKED else OutcomeKind.UNKNOWN
            told = self._clean(result.message)
            return self._end(sent, Outcome(kind=kind, code=result.code, message=told), None)
        reply = RawReply(
            status=result.status, headers={"x-request-id": result.request_id}, body=result.body
        )
        outcome, answer = classify(
            reply, batch.path, wall_s=self._clock.wall_s(), clean=self._clean
        )
        return self._end(sent, outcome, result.body if answer is not None else None, batch.model)

    def _end(self, sent: Sent, outcome: Outcome, body: bytes | None, model: str = "") -> LineEnd:
        refusal = None
        is_rejected = outcome.kind is OutcomeKind.REJECTED
        if body is None and (is_rejected or sent.sends > self._most_retries(outcome)):
            refusal = Refusal(
                kind=outcome.kind,
                code=outcome.code,
                message=outcome.message,
                status=outcome.status,
                attempts=sent.sends,
            )
        live_usd = self._context.prices.cost_usd(model, outcome.usage) if body is not None else None
        cost_usd = None if live_usd is None else live_usd * BATCH_SHARE
        return LineEnd(sent=sent, outcome=outcome, cost_usd=cost_usd, body=body, refusal=refusal)

    def _most_retries(self, outcome: Outcome) -> int:
        if outcome.kind is OutcomeKind.UNKNOWN:  # each of them may be billed
            return min(self._policy.max_unknown, self._policy.max_retries)
        return self._policy.max_retries


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
