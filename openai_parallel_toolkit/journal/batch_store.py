"""The part of the journal that batch mode needs: calls that wait, and the batches they are in."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from ..core.checkpoint import checkpoint
from ..core.clock import Clock
from ..core.records import CallId, OutcomeKind, Request
from . import batch_changes as changes
from .batch_rows import (
    Ask,
    BatchCounts,
    BatchRecord,
    BatchStage,
    Line,
    LineEnd,
    Queued,
    Ready,
    Refusal,
    ReturnedLine,
    Sent,
)
from .columns import decimal
from .operations import Claimed, Ended, Operation
from .queries import ANSWER_COLUMNS, JournalQueries, answer_record
from .writer import Done, Writer

_PAGE = 200
_SENT_COLUMNS = "attempt_id, file_id, hash, k, try, max_cost_usd, sends"
_WAITING = "batch_id IS NULL AND failure IS NULL"
_QUEUED = {False: _WAITING, True: f"{_WAITING} AND sends = 0"}


@dataclass(frozen=True, slots=True)
class BatchStore:
    """Lines, batches, rounds and jobs. What writes is durable on return, `suspend` excepted.

    A line's id in its batch is that of its attempt, which is never given twice: whatever a batch
    of an earlier run brings, it is known whose answer it is.
    """

    _source: JournalQueries
    _writer: Writer
    _clock: Clock
    _attempt_ids: Iterator[int]
    _run_id: Callable[[], int]
    #: Attempts whose answers this run took in that are of no use.
    unusable: set[int] = field(default_factory=set)

    # Files

    def begin(self) -> None:
        """Begin a run: what waits in no batch is forgotten; the hooks will ask again."""
        self._write([changes.begun])

    def suspend(
        self, file_id: int, rounds: int, asked: bytes, asks: Sequence[Ask], done: Done
    ) -> None:
        """A file waits for answers, for the `rounds`th time in this run; `asked` marks its asks."""
        change = changes.suspended(file_id, rounds, asked, asks, self._clock.wall_s())
        self._writer.put(change, done)

    def round_of(self, file_id: int) -> tuple[int, bytes]:
        """Return how often a file was suspended in this run, and the marks of its last asks."""
        query = "SELECT rounds, asked FROM rounds WHERE file_id = ?"
        rows = self._source.rows(query, (file_id,))
        return (rows[0][0], bytes(rows[0][1])) if rows else (0, b"")

    def take_ready(self, limit: int) -> list[Ready]:
        """Return files that wait for nothing more; each is returned once until it waits again."""
        found: list[Ready] = []
        self._write([changes.taken_up(limit, found)])
        if found:
            checkpoint("files.taken_up")
        return found

    def refusals(self, file_id: int) -> dict[tuple[str, int, int], Refusal]:
        """Return why calls of a file got no answer in this run, by (hash, k, try)."""
        rows = self._source.rows(
            "SELECT hash, k, try, failure FROM lines WHERE file_id = ? AND failure IS NOT NULL",
            (file_id,),
        )
        return {(hash.hex(), k, t): _refusal(failure) for hash, k, t, failure in rows}

    def batch_counts(self) -> BatchCounts:
        """Return how it stands; counts rows."""
        return self._source.batch_counts()

    # Forming

    def queued(self, *, is_fresh: bool = False) -> list[Queued]:
        """Return what waits for a batch, by path and model; `is_fresh`: and was in none yet."""
        rows = self._source.rows(
            "SELECT path, model, count(*), sum(size_bytes), sum(tokens), max(tokens), "  # noqa: S608
            "sum(inputs), min(queued_wall_s) FROM lines "
            f"WHERE {_QUEUED[is_fresh]} GROUP BY path, model"
        )
        return [Queued(*row) for row in rows]

    def lines(
        self,
        path: str,
        model: str,
        limit: int,
        *,
        is_fresh: bool = False,
        above_tokens: float = -1,
        up_to_tokens: float = math.inf,
    ) -> list[Line]:
        """Return queued lines, the first to be queued first; `is_fresh` as for `queued`."""
        rows = self._source.rows(
            "SELECT id, file_id, hash, k, try, size_bytes, tokens, max_cost_usd, "  # noqa: S608
            # It lies behind the body, which need not be read where it is always 1.
            "CASE path WHEN '/embeddings' THEN inputs ELSE 1 END FROM lines "
            f"WHERE {_QUEUED[is_fresh]} AND path = ? AND model = ? AND tokens > ? AND tokens <= ? "
            "ORDER BY id LIMIT ?",
            (path, model, above_tokens, up_to_tokens, limit),
        )
        return [
            Line(id, _call(*call), size_bytes, tokens, decimal(most), inputs)
            for id, *call, size_bytes, tokens, most, inputs in rows
        ]

    def set_aside(self, refusals: Mapping[int, Refusal | None]) -> None:
        """Put queued lines into no batch: they are refused, or sent live (None), by their id."""
        self._write([changes.set_aside(refusals)])

    def returned_lines(self, after: int, limit: int) -> list[ReturnedLine]:
        """Return queued lines that came back from a batch or are set aside, from a line on."""
        rows = self._source.rows(
            "SELECT id, file_id, hash, k, try, path, model, tokens, reply_tokens, sends, encoding, "
            "crc, body FROM lines WHERE batch_id IS NULL AND failure IS NULL AND sends <> 0 "
            "AND id > ? ORDER BY id LIMIT ?",
            (after, limit),
        )
        return [_returned_line(*row) for row in rows]

    def end_returned(self, ends: Mapping[int, Refusal | None]) -> None:
        """Note what came of lines that were sent live: None is an answer, which is kept."""
        self._write([changes.returned_ended(ends)])

    def form(self, lines: Sequence[Line], **facts: str) -> BatchRecord:
        """Make a batch of queued lines, and claim an attempt for each.

        `facts` are its key_name, fingerprint, path, model and token.
        """
        checkpoint("batch.forming")
        attempt_ids = list(islice(self._attempt_ids, len(lines)))
        tokens = sum(line.tokens for line in lines)
        batch = self._record(lines=len(lines), tokens=tokens, **facts)
        key_name, model = batch.key_name, batch.model
        wall_s = batch.formed_wall_s
        claims = [
            Claimed(attempt, batch.run_id, line.call, key_name, model, line.max_cost_usd, wall_s)
            for attempt, line in zip(attempt_ids, lines, strict=True)
        ]
        self._write([*claims, changes.formed(batch, lines, attempt_ids)])
        checkpoint("batch.formed")
        return batch

    def form_round(self, job_id: int, job: Mapping[str, Any], **facts: Any) -> BatchRecord:
        """Make a batch of a job's lines, and save what is known of the job, together.

        `facts` as for `form`, and how many lines and tokens there are.
        """
        checkpoint("batch.forming")
        batch = self._record(job_id=job_id, **facts)
        self._write([changes.job_saved(job_id, job), changes.formed(batch, (), ())])
        checkpoint("batch.formed")
        return batch

    def _record(self, **facts: Any) -> BatchRecord:
        return BatchRecord(
            id=self._first_free("batches"),
            run_id=self._run_id(),
            stage=BatchStage.FORMED,
            formed_wall_s=self._clock.wall_s(),
            **facts,
        )

    def _first_free(self, table: str) -> int:
        (last,) = self._source.rows(f"SELECT max(id) FROM {table}")[0]  # noqa: S608
        return (last or 0) + 1

    def bodies(self, batch: BatchRecord) -> Iterator[tuple[int, bytes]]:
        """Yield attempt and body of a batch's lines, in the order of the attempts."""
        for rows in self._pages(batch, ANSWER_COLUMNS):
            for row in rows:
                yield row[0], answer_record(row).body()

    def _pages(self, batch: BatchRecord, columns: str) -> Iterator[list[Any]]:
        """Yield columns, of which the attempt is the first, of a batch's lines, in its order."""
        query = (
            f"SELECT {columns} FROM lines "  # noqa: S608
            "WHERE batch_id = ? AND attempt_id > ? ORDER BY attempt_id LIMIT ?"
        )
        last = 0
        while rows := self._source.rows(query, (batch.id, last, _PAGE)):
            last = rows[-1][0]
            yield rows

    # Batches under way

    def open_batches(self) -> list[BatchRecord]:
        """Return the batches of hooks' calls that are not closed, the oldest first."""
        return self._source.batch_records("job_id IS NULL AND stage <> 'closed'")

    def rounds_of(self, job_id: int) -> list[BatchRecord]:
        """Return the batches of a job, the oldest first."""
        return self._source.batch_records("job_id = ?", job_id)

    def reload(self, batch: BatchRecord) -> BatchRecord:
        """Return a batch as it is noted now."""
        return self._source.batch_records("id = ?", batch.id)[0]

    def move_on(self, batch: BatchRecord, stage: BatchStage, **facts: Any) -> BatchRecord:
        """Note how far a batch has come, and fields of it that have changed; return it so."""
        batch = replace(batch, stage=stage, **facts)
        self._write([changes.moved_on(batch)])
        checkpoint(f"batch.{stage.value}")
        return batch

    # Jobs

    def jobs(self) -> list[tuple[int, Mapping[str, Any]]]:
        """Return the ids of the jobs that are under way, and what is known of each."""
        return self._source.jobs()

    def add_job(self, facts: Mapping[str, Any]) -> int:
        """Note a job, and return its id."""
        job_id = self._first_free("jobs")
        self.save_job(job_id, facts)
        return job_id

    def save_job(self, job_id: int, facts: Mapping[str, Any]) -> None:
        """Note what is known of a job."""
        self._write([changes.job_saved(job_id, facts)])
        checkpoint("job.saved")

    def forget_job(self, job_id: int) -> None:
        """Forget a job and its batches."""
        self._write([changes.job_forgotten(job_id)])
        checkpoint("job.forgotten")

    def sent(self, batch: BatchRecord) -> Iterator[list[Sent]]:
        """Yield the lines of a batch that have no end yet, a page at a time."""
        for rows in self._pages(batch, _SENT_COLUMNS):
            yield [_sent(*row) for row in rows]

    def find(self, batch: BatchRecord, attempt_ids: Sequence[int]) -> dict[int, Sent]:
        """Return those of a batch's lines that have these attempts and no end yet."""
        marks = ", ".join("?" * len(attempt_ids))
        rows = self._source.rows(
            f"SELECT {_SENT_COLUMNS} FROM lines "  # noqa: S608
            f"WHERE batch_id = ? AND attempt_id IN ({marks})",
            (batch.id, *attempt_ids),
        )
        return {row[0]: _sent(*row) for row in rows}

    def settle(self, ends: Sequence[LineEnd]) -> None:
        """Note the ends of attempts: answered, given up, or to be sent again."""
        wall_s = self._clock.wall_s()
        unusable = (end for end in ends if end.outcome.kind is OutcomeKind.UNUSABLE)
        self.unusable.update(end.sent.attempt_id for end in unusable)
        operations: list[Operation] = [
            Ended(
                end.sent.attempt_id,
                end.outcome,
                end.cost_usd,
                wall_s,
                None if end.body is None else (end.sent.call, end.body),
            )
            for end in ends
        ]
        self._write([*operations, changes.settled(ends)])
        checkpoint("batch.lines_settled")

    def _write(self, operations: Sequence[Operation]) -> None:
        settled = threading.Event()
        told: list[BaseException | None] = []

        def done(error: BaseException | None) -> None:
            told.append(error)
            settled.set()

        self._writer.put_together(operations, done)
        settled.wait()
        if told[0] is not None:
            raise told[0]
        if self._writer.trouble is not None:
            raise self._writer.trouble


def _call(file_id: int, hash: bytes, k: int, attempt_try: int) -> CallId:
    return CallId(file_id=file_id, hash=hash.hex(), k=k, attempt_try=attempt_try)


def _sent(attempt_id: int, *columns: Any) -> Sent:
    *call, most, sends = columns
    return Sent(attempt_id, _call(*call), decimal(most), sends)


def _returned_line(id: int, *columns: Any) -> ReturnedLine:
    *call, path, model, tokens, reply_tokens, sends, encoding, crc, body = columns
    identity = _call(*call)
    request = Request(
        path=path,
        model=model,
        body=answer_record((id, encoding, crc, body)).body(),
        hash=identity.hash,
        prompt_tokens=tokens,
        reply_tokens=reply_tokens,
        reply_limit_tokens=reply_tokens,
    )
    return ReturnedLine(id, identity, request, max(sends, 0))


def _refusal(kept: str) -> Refusal:
    values = json.loads(kept)
    return Refusal(**{**values, "kind": OutcomeKind(values["kind"])})
