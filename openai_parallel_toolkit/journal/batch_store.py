"""What batch mode keeps in the journal: calls that wait, and the batches they are in."""

from __future__ import annotations

import json
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any

from ..core.checkpoint import checkpoint
from ..core.clock import Clock
from ..core.records import OutcomeKind
from .batch_queries import BatchQueries
from .batch_rows import Ask, BatchRecord, BatchStage, Line, LineEnd, Ready, Refusal, Told
from .columns import join, text, usd
from .operations import Change, Claimed, Ended, Operation, identity, packed, statements
from .writer import Done, Writer

#: `sends` of a line that goes into no batch, but live.
_LIVE = -1
_QUEUE = (
    "INSERT INTO lines (file_id, hash, k, try, path, model, tokens, reply_tokens, max_cost_usd, "
    "size_bytes, queued_wall_s, inputs, sends, is_asked, encoding, crc, body) "
    "SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 0, 1, ?13, ?14, ?15 "
    "WHERE NOT EXISTS (SELECT 1 FROM answers "
    "WHERE file_id = ?1 AND hash = ?2 AND k = ?3 AND try = ?4) "
    "ON CONFLICT (file_id, hash, k, try) DO UPDATE SET is_asked = 1"
)
_KEEP_REQUESTS = (
    "INSERT OR IGNORE INTO requests SELECT attempt_id, encoding, crc, body FROM lines "
    "WHERE batch_id = ? AND attempt_id IS NOT NULL"
)
#: Files of which no line is neither answered nor refused.
_READY = (
    "SELECT rounds.file_id, folder, name FROM rounds JOIN files ON files.id = rounds.file_id "
    "WHERE is_suspended AND NOT EXISTS (SELECT 1 FROM lines "
    "WHERE lines.file_id = rounds.file_id AND is_asked AND failure IS NULL) LIMIT ?"
)


@dataclass(frozen=True, slots=True)
class BatchStore(BatchQueries):
    """Lines, batches, rounds and jobs. What writes is durable on return, `suspend` excepted.

    A line's id in its batch is that of its attempt, which is never given twice: whatever a batch
    of an earlier run brings, it is known whose answer it is.
    """

    _writer: Writer
    _clock: Clock
    _attempt_ids: Iterator[int]
    _run_id: Callable[[], int]
    _keeps_requests: Callable[[], bool]
    #: Attempts whose answers this run took in that are of no use.
    unusable: set[int] = field(default_factory=set)

    # Files

    def begin(self) -> None:
        """Begin a run: what waits in no batch is forgotten; the hooks will ask again."""
        self._change(
            ("DELETE FROM lines WHERE batch_id IS NULL", [()]),
            ("UPDATE lines SET is_asked = 0", [()]),
            ("DELETE FROM rounds", [()]),
        )

    def suspend(
        self, file_id: int, rounds: int, asked: bytes, asks: Sequence[Ask], done: Done
    ) -> None:
        """A file waits for answers, for the `rounds`th time in this run; `asked` marks its asks.

        What was answered meanwhile, or is in a batch, is not queued.
        """
        wall_s = self._clock.wall_s()
        change = statements(
            (_QUEUE, [_row(ask, wall_s) for ask in asks]),
            ("INSERT OR REPLACE INTO rounds VALUES (?, ?, ?, 1)", [(file_id, rounds, asked)]),
        )
        self._writer.put(change, done)

    def take_ready(self, limit: int) -> list[Ready]:
        """Return files that wait for nothing more; each is returned once until it waits again."""
        found: list[Ready] = []

        def take_up(db: sqlite3.Connection) -> None:
            rows = db.execute(_READY, (limit,)).fetchall()
            change = "UPDATE rounds SET is_suspended = 0 WHERE file_id = ?"
            db.executemany(change, [(row[0],) for row in rows])
            found[:] = [Ready(file_id, join(folder, name)) for file_id, folder, name in rows]

        self._write([take_up])
        if found:
            checkpoint("files.taken_up")
        return found

    # Lines

    def set_aside(self, refusals: Mapping[int, Refusal | None]) -> None:
        """Put queued lines into no batch: they are refused, or sent live (None), by their id."""
        rows = [(_kept(refusal), _LIVE, line_id) for line_id, refusal in refusals.items()]
        self._change(("UPDATE lines SET failure = ?, sends = ? WHERE id = ?", rows))

    def end_returned(self, ends: Mapping[int, Refusal | None]) -> None:
        """Note what came of lines that were sent live: None is an answer, which is kept."""
        gone = [(line_id,) for line_id, refusal in ends.items() if refusal is None]
        refused = [(_kept(refusal), line_id) for line_id, refusal in ends.items() if refusal]
        self._change(
            ("DELETE FROM lines WHERE id = ?", gone),
            ("UPDATE lines SET failure = ? WHERE id = ?", refused),
        )

    def settle(self, ends: Sequence[LineEnd]) -> None:
        """Note the ends of attempts: lines are answered and gone, given up, or queued again.

        What is to be sent again is queued only if a file still asks for it.
        """
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
        unanswered = [end for end in ends if end.body is None]
        gone = [(end.sent.attempt_id,) for end in ends if end.body is not None]
        left = [(end.sent.attempt_id,) for end in unanswered if end.refusal is None]
        back = [
            (_kept(end.refusal), 0 if end.is_counted else 1, end.sent.attempt_id)
            for end in unanswered
        ]
        free = (
            "UPDATE lines SET batch_id = NULL, attempt_id = NULL, failure = ?, sends = sends - ? "
            "WHERE attempt_id = ?"
        )
        change = statements(
            ("DELETE FROM lines WHERE attempt_id = ?", gone),
            ("DELETE FROM lines WHERE attempt_id = ? AND NOT is_asked", left),
            (free, back),
        )
        self._write([*operations, change])
        checkpoint("batch.lines_settled")

    # Batches

    def form(self, lines: Sequence[Line], **facts: str) -> BatchRecord:
        """Make a batch of queued lines, and claim an attempt for each.

        `facts` are its key_name, fingerprint, path, model and token.
        """
        attempt_ids = list(islice(self._attempt_ids, len(lines)))
        tokens = sum(line.tokens for line in lines)
        batch = self._record(lines=len(lines), tokens=tokens, **facts)
        key_name, model = batch.key_name, batch.model
        wall_s = batch.formed_wall_s
        claims = [
            Claimed(attempt, batch.run_id, line.call, key_name, model, line.max_cost_usd, wall_s)
            for attempt, line in zip(attempt_ids, lines, strict=True)
        ]
        take = "UPDATE lines SET batch_id = ?, attempt_id = ?, sends = sends + 1 WHERE id = ?"
        rows = [(batch.id, attempt, at.id) for attempt, at in zip(attempt_ids, lines, strict=True)]
        kept = [(batch.id,)] if self._keeps_requests() else []
        return self._form(batch, *claims, statements((take, rows), (_KEEP_REQUESTS, kept)))

    def form_round(self, job_id: int, job: Mapping[str, Any], **facts: Any) -> BatchRecord:
        """Make a batch of a job's lines, and save what is known of the job, together.

        `facts` as for `form`, and how many lines and tokens there are.
        """
        return self._form(self._record(job_id=job_id, **facts), _saved(job_id, job))

    def _record(self, **facts: Any) -> BatchRecord:
        checkpoint("batch.forming")
        return BatchRecord(
            id=self._first_free("batches"),
            run_id=self._run_id(),
            stage=BatchStage.FORMED,
            formed_wall_s=self._clock.wall_s(),
            **facts,
        )

    def _form(self, batch: BatchRecord, *besides: Operation) -> BatchRecord:
        kept = {"stage": batch.stage.value, "told": _json(batch.told)}
        row = tuple({**asdict(batch), **kept}.values())
        insert = f"INSERT INTO batches VALUES ({', '.join('?' * len(row))})"  # noqa: S608
        self._write([*besides, statements((insert, [row]))])
        checkpoint("batch.formed")
        return batch

    def _first_free(self, table: str) -> int:
        (last,) = self._source.rows(f"SELECT max(id) FROM {table}")[0]  # noqa: S608
        return (last or 0) + 1

    def move_on(self, batch: BatchRecord, stage: BatchStage, **facts: Any) -> BatchRecord:
        """Note how far a batch has come, and fields of it that have changed; return it so."""
        batch = replace(batch, stage=stage, **facts)
        row = (stage.value, batch.input_file_id, batch.remote_id, _json(batch.told), batch.id)
        columns = "stage = ?, input_file_id = ?, remote_id = ?, told = ?"
        self._change((f"UPDATE batches SET {columns} WHERE id = ?", [row]))  # noqa: S608
        checkpoint(f"batch.{stage.value}")
        return batch

    # Jobs

    def add_job(self, facts: Mapping[str, Any]) -> int:
        """Note a job, and return its id."""
        job_id = self._first_free("jobs")
        self.save_job(job_id, facts)
        return job_id

    def save_job(self, job_id: int, facts: Mapping[str, Any]) -> None:
        """Note what is known of a job."""
        self._write([_saved(job_id, facts)])
        checkpoint("job.saved")

    def forget_job(self, job_id: int) -> None:
        """Forget a job and its batches."""
        self._change(
            ("DELETE FROM batches WHERE job_id = ?", [(job_id,)]),
            ("DELETE FROM jobs WHERE id = ?", [(job_id,)]),
        )
        checkpoint("job.forgotten")

    def _change(self, *steps: tuple[str, Sequence[Sequence[object]]]) -> None:
        self._write([statements(*steps)])

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


def _row(ask: Ask, wall_s: float) -> tuple[object, ...]:
    call, request = ask.call, ask.request
    encoding, stored = packed(request.body)
    return (
        *identity(call),
        *(text(request.path), text(request.model), request.prompt_tokens, request.reply_tokens),
        *(usd(ask.max_cost_usd), len(request.body), wall_s, ask.inputs),
        *(encoding, zlib.crc32(stored), stored),
    )


def _saved(job_id: int, facts: Mapping[str, Any]) -> Change:
    row = (job_id, text(json.dumps(facts)))
    return statements(("INSERT OR REPLACE INTO jobs VALUES (?, ?)", [row]))


def _kept(refusal: Refusal | None) -> str | None:
    return None if refusal is None else _json(refusal)


def _json(facts: Refusal | Told) -> str:
    return text(json.dumps(asdict(facts)))
