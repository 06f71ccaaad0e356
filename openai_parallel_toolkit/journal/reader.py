"""The journal as `status`, `failures` and `show` see it: read only, while a run writes or after."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from decimal import Decimal
from typing import Any

from ..core.errors import JournalError, UsageError
from ..core.records import FailureNote, FileState
from .batch_rows import BatchRecord
from .columns import join
from .disk import faults_told
from .kept_calls import KEPT_CALLS, TEXTS, CallFilter, attempt_of, found_in
from .queries import PAGE, JournalQueries, add_up, totals
from .rows import Attempt, FileCost, FileDetail, FileFailure, Status, StoredBody
from .schema import VERSION, checked_version, connect, existing

_FAILURES = (
    "SELECT id, folder, name, failed_runs, failure_kind, failure_message, failure_trace "
    "FROM files WHERE state = ? AND state <> 'done' AND id > ? ORDER BY id LIMIT ?"
)

#: Beyond all attempts.
LAST_CALL = 2**62
ALL_CALLS = CallFilter()
_DEAREST = (
    "SELECT folder, name, count(*), CAST(total(prompt_tokens) + total(completion_tokens) AS INT), "
    "total(CAST(cost_usd AS REAL)) AS usd FROM attempts "
    "JOIN endings ON attempt_id = attempts.id JOIN files ON files.id = file_id "
    "WHERE cost_usd IS NOT NULL GROUP BY file_id ORDER BY usd DESC, file_id LIMIT ?"
)
_DONE_IN = (
    "SELECT max(runs.id) FROM files JOIN runs ON started_wall_s <= changed_wall_s "
    "WHERE files.id = ? AND state = 'done'"
)


class JournalReader(JournalQueries):
    """Reads a journal, takes no lock and changes nothing."""

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
            batches=self.batch_counts(),
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
        """Return all that is known of one input."""
        record = self.known(path)
        if record is None:
            raise UsageError(
                f"The journal knows no file {path!r}; name it as it lies below the input folder.",
                path=path,
            )
        query = "SELECT failure_kind, failure_message, failure_trace FROM files WHERE id = ?"
        kept = f"{KEPT_CALLS} WHERE attempts.file_id = ? ORDER BY attempts.id"
        with self.understood():
            return FileDetail(
                file=record,
                failure=_note(*self.rows(query, (record.id,))[0]),
                outputs=self.outputs(record.id),
                attempts=tuple(attempt_of(row)[1] for row in self.rows(kept, (record.id,))),
                done_run_id=self.rows(_DONE_IN, (record.id,))[0][0],
            )

    def dearest(self, count: int) -> list[FileCost]:
        """Return the files that cost most, the dearest first; looks at every answer."""
        with self.understood():
            return [
                FileCost(
                    path=join(folder, name),
                    answers=answers,
                    tokens=tokens,
                    cost_usd=Decimal(f"{usd:.12g}"),
                )
                for folder, name, answers, tokens, usd in self.rows(_DEAREST, (count,))
            ]

    # Calls

    def calls(
        self,
        only: CallFilter = ALL_CALLS,
        *,
        after: int = 0,
        before: int = LAST_CALL,
        limit: int = PAGE,
        newest_first: bool = False,
    ) -> list[tuple[str, Attempt]]:
        """Return attempts and the paths of their files ("": of none), the oldest first.

        A page follows on another by the id of its last attempt, in `after` or `before`.
        """
        condition, values = only.condition()
        query = (
            f"{KEPT_CALLS} WHERE attempts.id > ? AND attempts.id < ? AND {condition} "
            f"ORDER BY attempts.id {'DESC' if newest_first else ''} LIMIT ?"
        )
        with self.understood():
            return [attempt_of(row) for row in self.rows(query, (after, before, *values, limit))]

    def calls_with(self, text: str, only: CallFilter, before: int) -> tuple[list[int], int | None]:
        """Look for a text in a page of attempts, the newest first; see `found_in`.

        Returns their ids, and before which one to go on; None: there are no more.
        """
        condition, values = only.condition()
        query = f"{TEXTS} WHERE attempts.id < ? AND {condition} ORDER BY attempts.id DESC LIMIT ?"
        rows = self.rows(query, (before, *values, PAGE))
        return list(found_in(rows, text)), (rows[-1][0] if len(rows) == PAGE else None)

    def call(self, attempt_id: int) -> tuple[str, Attempt] | None:
        """Return one attempt, with what was asked also where an earlier one of its call kept it.

        None: there is no such attempt.
        """
        found = self.calls(after=attempt_id - 1, before=attempt_id + 1)
        if not found:
            return None
        path, attempt = found[0]
        return path, replace(attempt, request=attempt.request or self._request_of(attempt_id))

    def _request_of(self, attempt_id: int) -> StoredBody | None:
        """Return what was asked by an attempt that kept it for others of the same request."""
        for test, order in (("<", "DESC"), (">", "")):  # it is near, as a rule
            rows = self.rows(
                "SELECT requests.* FROM attempts AS one JOIN attempts ON "  # noqa: S608
                "attempts.file_id = one.file_id AND attempts.hash = one.hash "
                "JOIN requests ON requests.attempt_id = attempts.id "
                f"WHERE one.id = ? AND attempts.id {test} one.id ORDER BY attempts.id {order} "
                "LIMIT 1",
                (attempt_id,),
            )
            for id, encoding, crc, stored in rows:
                return StoredBody(attempt_id=id, encoding=encoding, crc=crc, stored=stored)
        return None


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
