"""The journal as `status`, `failures` and `show` see it: read only, while a run writes or after."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from typing import Any

from ..core.errors import JournalError, UsageError
from ..core.records import FailureNote, FileState, OutcomeKind
from .batch_rows import BatchRecord
from .columns import decimal, join, split
from .disk import faults_told
from .queries import PAGE, JournalQueries, add_up, totals
from .rows import Attempt, Ending, FileDetail, FileFailure, FileRecord, Status, StoredAnswer
from .schema import VERSION, checked_version, connect, existing

_FAILURES = (
    "SELECT id, folder, name, failed_runs, failure_kind, failure_message, failure_trace "
    "FROM files WHERE state = ? AND state <> 'done' AND id > ? ORDER BY id LIMIT ?"
)
_ATTEMPTS = (
    "SELECT id, run_id, hash, k, try, key_name, model, max_cost_usd, started_wall_s, endings.* "
    "FROM attempts LEFT JOIN endings ON endings.attempt_id = attempts.id "
    "WHERE file_id = ? ORDER BY id"
)


class JournalReader(JournalQueries):
    """Reads a journal, takes no lock and changes nothing.

    Raises:
        JournalError: there is no journal, it is damaged or of another version.
        StorageError: the disk refused.
    """

    def __init__(self, state_folder: str) -> None:
        path = existing(state_folder)
        super().__init__(_open(path), path)

    def __enter__(self) -> JournalReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def status(self) -> Status:
        """Return how the work stands; quick at any size."""
        rows = self.figures()
        run = self.last_run()
        files = dict(self.rows("SELECT state, files FROM standings"))
        return Status(
            files={state: files.get(state.value, 0) for state in FileState},
            run=run,
            totals=totals(rows, run.id if run else 0),
            by_key=add_up(rows, lambda row: row[1]),
            by_model=add_up(rows, lambda row: row[2]),
            dropped=dict(self.rows("SELECT name, reason FROM dropped_keys")),
            batches=self.standing(),
        )

    def has_files(self) -> bool:
        """Return whether the hooks of any file were ever started."""
        return bool(self.rows("SELECT 1 FROM files LIMIT 1"))

    def jobs_and_batches(self) -> list[tuple[int, Mapping[str, Any], BatchRecord | None]]:
        """Return the jobs that are under way: id, what is known of it, its last batch."""
        last: dict[int | None, BatchRecord] = {
            batch.job_id: batch for batch in self.batch_records("job_id IS NOT NULL")
        }
        return [(id, facts, last.get(id)) for id, facts in self.jobs()]

    def failures(self) -> Iterator[FileFailure]:
        """Yield the files that failed, then those put aside, each in the order they were met."""
        for state in (FileState.FAILED, FileState.ASIDE):
            last_id = 0
            while rows := self.rows(_FAILURES, (state.value, last_id, PAGE)):
                last_id = rows[-1][0]
                with self.understood():
                    page = [_failure(state, *columns) for _, *columns in rows]
                yield from page

    def file(self, path: str) -> FileDetail:
        """Return all that is known of one input.

        Raises:
            UsageError: the journal does not know it.
        """
        record = self.known(path)
        if record is None:
            raise UsageError(
                f"The journal knows no file {path!r}; name it as it lies below the input folder.",
                path=path,
            )
        return FileDetail(
            file=record,
            failure=self._failure(path),
            outputs=self.outputs(record.id),
            attempts=self._attempts(record),
        )

    def _failure(self, path: str) -> FailureNote | None:
        query = (
            "SELECT failure_kind, failure_message, failure_trace FROM files "
            "WHERE folder = ? AND name = ?"
        )
        return _note(*self.rows(query, split(path))[0])

    def _attempts(self, record: FileRecord) -> tuple[Attempt, ...]:
        stored = self.answers(record.id).values()
        answers = {answer.attempt_id: answer for answer in stored}
        rows = self.rows(_ATTEMPTS, (record.id,))
        with self.understood():
            return tuple(_attempt(answers.get(row[0]), *row) for row in rows)


def _open(path: str) -> sqlite3.Connection:
    with faults_told(path), ExitStack() as stack:
        db = stack.enter_context(closing(connect(path, mode="ro")))
        if checked_version(db, path) < VERSION:
            raise JournalError(
                f"{path} was written by an older openai_parallel_toolkit; the next run brings it "
                "up to date, then it can be read.",
                path=path,
            )
        stack.pop_all()
    return db


def _note(kind: str | None, message: str, trace: str) -> FailureNote | None:
    return None if kind is None else FailureNote(kind=kind, message=message, trace=trace)


def _failure(
    state: FileState, folder: bytes, name: bytes, failed_runs: int, *note: Any
) -> FileFailure:
    return FileFailure(
        path=join(folder, name),
        state=state,
        failed_runs=failed_runs,
        note=_note(*note) or FailureNote(kind="", message=""),
    )


def _attempt(answer: StoredAnswer | None, *columns: Any) -> Attempt:
    id, run_id, hash, k, attempt_try, key_name, model, most_usd, started_wall_s, *ending = columns
    return Attempt(
        id=id,
        run_id=run_id,
        hash=hash.hex(),
        k=k,
        attempt_try=attempt_try,
        key_name=key_name,
        model=model,
        max_cost_usd=decimal(most_usd),
        started_wall_s=started_wall_s,
        ending=_ending(*ending),
        answer=answer,
    )


def _ending(attempt_id: int | None, kind: str, *values: Any) -> Ending | None:
    if attempt_id is None:
        return None
    status, code, message, prompt, completion, cached, cost, request_id, ended = values
    return Ending(
        kind=OutcomeKind(kind),
        status=status,
        code=code,
        message=message,
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=cached,
        cost_usd=decimal(cost),
        request_id=request_id,
        ended_wall_s=ended,
    )
