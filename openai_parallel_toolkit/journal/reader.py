"""The journal as `status`, `failures` and `show` see it: read only, while a run writes or after."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from typing import Any

from ..core.errors import JournalError, UsageError
from ..core.records import FailureNote, FileState, OutcomeKind
from .batch_rows import BatchRecord
from .columns import decimal, join
from .disk import faults_told
from .queries import PAGE, JournalQueries, add_up, totals
from .rows import AnswerRecord, Attempt, AttemptEnding, FileDetail, FileFailure, Status
from .schema import VERSION, checked_version, connect, existing

_FAILURES = (
    "SELECT id, folder, name, failed_runs, failure_kind, failure_message, failure_trace "
    "FROM files WHERE state = ? AND state <> 'done' AND id > ? ORDER BY id LIMIT ?"
)
#: The columns before the ending's are the fields of an Attempt, in their order.
_ATTEMPT_COLUMNS = 9
_ATTEMPTS = (
    "SELECT id, run_id, hash, k, try, key_name, model, max_cost_usd, started_wall_s, endings.* "
    "FROM attempts LEFT JOIN endings ON endings.attempt_id = attempts.id "
    "WHERE file_id = ? ORDER BY id"
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
        answers = {kept.attempt_id: kept for kept in self.answers(record.id).values()}
        with self.understood():
            return FileDetail(
                file=record,
                failure=_note(*self.rows(query, (record.id,))[0]),
                outputs=self.outputs(record.id),
                attempts=tuple(
                    _attempt(answers.get(row[0]), *row)
                    for row in self.rows(_ATTEMPTS, (record.id,))
                ),
            )


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


def _attempt(answer: AnswerRecord | None, *columns: Any) -> Attempt:
    facts = dict(zip(Attempt.__dataclass_fields__, columns[:_ATTEMPT_COLUMNS]))  # noqa: B905
    facts["hash"] = facts["hash"].hex()
    facts["max_cost_usd"] = decimal(facts["max_cost_usd"])
    return Attempt(**facts, ending=_ending(*columns[_ATTEMPT_COLUMNS:]), answer=answer)


def _ending(attempt_id: int | None, *columns: Any) -> AttemptEnding | None:
    if attempt_id is None:
        return None
    facts = dict(zip(AttemptEnding.__dataclass_fields__, columns, strict=True))
    facts["kind"], facts["cost_usd"] = OutcomeKind(facts["kind"]), decimal(facts["cost_usd"])
    return AttemptEnding(**facts)
