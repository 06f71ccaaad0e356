"""The part of the journal that batch mode needs: calls that wait, and the batches they are in."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from ..core.checkpoint import checkpoint
from ..core.clock import Clock
from ..core.errors import ToolkitError
from ..core.records import CallId, OutcomeKind, Request
from . import batch_changes as changes
from .batch_rows import (
    Ask,
    BatchRecord,
    Line,
    LineEnd,
    Queued,
    Ready,
    Refusal,
    Sent,
    Stage,
    Standing,
    Straggler,
)
from .columns import decimal
from .operations import Claimed, Ended, Operation
from .queries import JournalQueries
from .rows import AnswerRecord
from .writer import Done, Writer

_PAGE = 200
_WAITING = "batch_id IS NULL AND failure IS NULL"
_QUEUED = {False: _WAITING, True: f"{_WAITING} AND sends = 0"}


class BatchStore:
    """Lines, batches and rounds. What writes is durable on return, `suspend` excepted.

    A line's id in its batch is that of its attempt, which is never given twice: whatever a batch
    of an earlier run brings, it is known whose answer it is.
    """

    def __init__(
        self,
        source: JournalQueries,
        writer: Writer,
        clock: Clock,
        attempt_ids: Iterator[int],
        run_id: Callable[[], int],
    ) -> None:
        self._source = source
        self._writer = writer
        self._clock = clock
        self._attempt_ids = attempt_ids
        self._run_id = run_id

    # Files

    def begin(self) -> None:
        """Begin a run: what waits in no batch is forgotten; the hooks will ask again."""
        self._write([changes.begun])

    def suspend(
        self, file_id: int, rounds: int, asked: bytes, asks: Sequence[Ask], done: Done
    ) -> None:
        """A file waits for answers, for the `rounds`th time in this run.

        Args:
            asked: marks of its asks, for `round_of`.
        """
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

    def standing(self) -> Standing:
        """Return how it stands; counts rows."""
        return self._source.standing()

    # Forming

    def queued(self, *, is_fresh: bool = False) -> list[Queued]:
        """Return what waits for a batch, by path and model.

        Args:
            is_fresh: only what was in no batch yet.
        """
        rows = self._source.rows(
            "SELECT path, model, count(*), sum(size_bytes), sum(tokens), max(tokens), "  # noqa: S608
            f"min(queued_wall_s) FROM lines WHERE {_QUEUED[is_fresh]} GROUP BY path, model"
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
            "SELECT id, file_id, hash, k, try, size_bytes, tokens, max_cost_usd FROM lines "  # noqa: S608
            f"WHERE {_QUEUED[is_fresh]} AND path = ? AND model = ? AND tokens > ? AND tokens <= ? "
            "ORDER BY id LIMIT ?",
            (path, model, above_tokens, up_to_tokens, limit),
        )
        return [
            Line(id, _call(*call), size_bytes, tokens, decimal(most))
            for id, *call, size_bytes, tokens, most in rows
        ]

    def set_aside(self, refusals: Mapping[int, Refusal | None]) -> None:
        """Put queued lines into no batch: they are refused, or sent live (None), by their id."""
        self._write([changes.set_aside(refusals)])

    def stragglers(self, after: int, limit: int) -> list[Straggler]:
        """Return queued lines that came back from a batch or are set aside, from a line on."""
        rows = self._source.rows(
            "SELECT id, file_id, hash, k, try, path, model, tokens, reply_tokens, sends, encoding, "
            "crc, body FROM lines WHERE batch_id IS NULL AND failure IS NULL AND sends <> 0 "
            "AND id > ? ORDER BY id LIMIT ?",
            (after, limit),
        )
        return [_straggler(*row) for row in rows]

    def end_stragglers(self, ends: Mapping[int, Refusal | None]) -> None:
        """Note what came of lines that were sent live: None is an answer, which is kept."""
        self._write([changes.stragglers_ended(ends)])

    def form(
        self,
        lines: Sequence[Line],
        *,
        key_name: str,
        fingerprint: str,
        path: str,
        model: str,
        token: str,
    ) -> BatchRecord:
        """Make a batch of queued lines, and claim an attempt for each."""
        checkpoint("batch.forming")
        (last,) = self._source.rows("SELECT max(id) FROM batches")[0]
        wall_s, run_id = self._clock.wall_s(), self._run_id()
        attempt_ids = list(islice(self._attempt_ids, len(lines)))
        batch = BatchRecord(
            id=(last or 0) + 1,
            run_id=run_id,
            key_name=key_name,
            fingerprint=fingerprint,
            path=path,
            model=model,
            token=token,
            lines=len(lines),
            tokens=sum(line.tokens for line in lines),
            stage=Stage.FORMED,
            input_file_id=None,
            remote_id=None,
            formed_wall_s=wall_s,
        )
        claims = [
            Claimed(attempt, run_id, line.call, key_name, model, line.max_cost_usd, wall_s)
            for attempt, line in zip(attempt_ids, lines, strict=True)
        ]
        self._write([*claims, changes.formed(batch, lines, attempt_ids)])
        checkpoint("batch.formed")
        return batch

    def bodies(self, batch: BatchRecord) -> Iterator[tuple[int, bytes]]:
        """Yield attempt and body of a batch's lines, in the order of the attempts."""
        query = (
            "SELECT attempt_id, encoding, crc, body FROM lines "
            "WHERE batch_id = ? AND attempt_id > ? ORDER BY attempt_id LIMIT ?"
        )
        last = 0
        while rows := self._source.rows(query, (batch.id, last, _PAGE)):
            for last, encoding, crc, body in rows:
                stored = AnswerRecord(attempt_id=last, encoding=encoding, crc=crc, stored=body)
                yield last, stored.body()

    # Batches under way

    def open_batches(self) -> list[BatchRecord]:
        """Return the batches that are not closed, the oldest first."""
        rows = self._source.rows("SELECT * FROM batches WHERE stage <> 'closed' ORDER BY id")
        with self._source.understood():
            return [_batch(row) for row in rows]

    def move_on(
        self,
        batch: BatchRecord,
        stage: Stage,
        *,
        input_file_id: str | None = None,
        remote_id: str | None = None,
    ) -> None:
        """Note how far a batch has come; what is None stays as it was."""
        self._write([changes.moved_on(batch.id, stage, input_file_id, remote_id)])
        checkpoint(f"batch.{stage.value}")

    def sent(self, batch: BatchRecord) -> Iterator[list[Sent]]:
        """Yield the lines of a batch that have no end yet, a page at a time."""
        query = (
            "SELECT attempt_id, file_id, hash, k, try, max_cost_usd, sends FROM lines "
            "WHERE batch_id = ? AND attempt_id > ? ORDER BY attempt_id LIMIT ?"
        )
        last = 0
        while rows := self._source.rows(query, (batch.id, last, _PAGE)):
            last = rows[-1][0]
            yield [_sent(*row) for row in rows]

    def find(self, batch: BatchRecord, attempt_ids: Sequence[int]) -> dict[int, Sent]:
        """Return those of a batch's lines that have these attempts and no end yet."""
        marks = ", ".join("?" * len(attempt_ids))
        rows = self._source.rows(
            "SELECT attempt_id, file_id, hash, k, try, max_cost_usd, sends FROM lines "  # noqa: S608
            f"WHERE batch_id = ? AND attempt_id IN ({marks})",
            (batch.id, *attempt_ids),
        )
        return {row[0]: _sent(*row) for row in rows}

    def settle(self, ends: Sequence[LineEnd], *, is_sent: bool = True) -> None:
        """Note the ends of attempts: answered, given up, or to be sent again.

        Args:
            is_sent: False: the batch was never made, and the sending does not count.
        """
        wall_s = self._clock.wall_s()
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
        self._write([*operations, changes.settled(ends, is_sent=is_sent)])
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
        trouble: ToolkitError | None = self._writer.trouble
        if trouble is not None:
            raise trouble


def _call(file_id: int, hash: bytes, k: int, attempt_try: int) -> CallId:
    return CallId(file_id=file_id, hash=hash.hex(), k=k, attempt_try=attempt_try)


def _sent(attempt_id: int, *columns: Any) -> Sent:
    *call, most, sends = columns
    return Sent(attempt_id, _call(*call), decimal(most), sends)


def _straggler(id: int, *columns: Any) -> Straggler:
    *call, path, model, tokens, reply_tokens, sends, encoding, crc, body = columns
    identity = _call(*call)
    stored = AnswerRecord(attempt_id=id, encoding=encoding, crc=crc, stored=body)
    request = Request(
        path=path,
        model=model,
        body=stored.body(),
        hash=identity.hash,
        prompt_tokens=tokens,
        reply_tokens=reply_tokens,
        reply_limit_tokens=reply_tokens,
    )
    return Straggler(id, identity, request, max(sends, 0))


def _batch(row: Sequence[Any]) -> BatchRecord:
    names = BatchRecord.__dataclass_fields__
    values = dict(zip(names, row, strict=True))
    return BatchRecord(**{**values, "stage": Stage(values["stage"])})


def _refusal(kept: str) -> Refusal:
    values = json.loads(kept)
    return Refusal(**{**values, "kind": OutcomeKind(values["kind"])})
