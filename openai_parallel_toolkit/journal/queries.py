"""What Journal and JournalReader both read; each query is one short read transaction."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, groupby
from typing import Any

from ..core.filesystem import PATH_CODEC, path_bytes, path_text
from ..core.records import CallId, FileState, OutputFile, Record
from ..costs.figures import Figures
from .batch_rows import BatchCounts, BatchRecord, BatchStage, Told
from .columns import figures_facts, join, split
from .disk import damaged, faults_told
from .operations import identity
from .rows import AnswerRecord, FileRecord, KeptRequest, RunRecord, RunTotals

#: Files that are read at a time where there may be millions.
PAGE = 500
_COLUMNS = "id, folder, name, state, failed_runs, is_suspect, hooks_version, input_signature"
_FILE_COLUMNS = 8
#: Attempts that an average is taken of.
_NEWEST_ATTEMPTS = 200_000
#: Files that a scan reads at a time, and what is greater than all names.
_SCANNED = 2_000
_BEYOND_NAMES = b"\xff"
#: A page is bounded by a name, and not by a count: then the index gives the order.
_PAGE_END = "SELECT name FROM files WHERE folder = ? AND name > ? ORDER BY name LIMIT 1 OFFSET ?"
_FILES_IN = (
    "SELECT name, state, final, files.id, input_signature, ifnull(is_blank, 0), "
    "final IS NULL AND NOT EXISTS (SELECT 1 FROM appended WHERE appended.file_id = files.id), "
    "hooks_version FROM files LEFT JOIN outputs ON outputs.file_id = files.id AND is_current "
    "WHERE folder = ? AND name > ? AND name <= ? AND state IS NOT NULL ORDER BY folder, name"
)
_STATES = {state.value: state for state in FileState}
_RUN_COLUMNS = "id, started_wall_s, pid, host, hooks_version, ended_wall_s, how, summary, settings"
ANSWER_COLUMNS = "attempt_id, encoding, crc, body"


class JournalQueries:
    """Reads what is committed, for many threads in turn.

    One lock guards the connection. Every method may raise JournalError when the journal is damaged,
    and StorageError when the disk refuses.
    """

    def __init__(self, db: sqlite3.Connection, path: str) -> None:
        self.path = path
        self._db = db
        self._reading = threading.Lock()

    def rows(self, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Any]:
        """Return all rows."""
        with faults_told(self.path), self._reading:
            return self._db.execute(query, values).fetchall()

    def one(self, query: str, *values: Any) -> Any:
        """Return the first column of the first row; None: there is no row."""
        rows = self.rows(query, values)
        return rows[0][0] if rows else None

    @contextmanager
    def understood(self) -> Iterator[None]:
        """Take values that cannot be what was written for the damage that they are."""
        try:
            yield
        except (ValueError, TypeError, ArithmeticError, KeyError) as error:
            raise damaged(self.path) from error

    def close(self) -> None:
        """Close the connection."""
        with self._reading:
            self._db.close()

    # Runs

    def last_run(self, before: int | None = None) -> RunRecord | None:
        """Return the newest run, or the newest one before a run; None: there was none."""
        rows = self.rows(
            f"SELECT {_RUN_COLUMNS} FROM runs WHERE ?1 IS NULL OR id < ?1 ORDER BY id DESC LIMIT 1",  # noqa: S608
            (before,),
        )
        fields = RunRecord.__dataclass_fields__
        return RunRecord(**dict(zip(fields, rows[0], strict=True))) if rows else None

    def figures(self) -> list[tuple[int, str, str, Figures]]:
        """Return runs, key names and models with their figures."""
        rows = self.rows("SELECT * FROM tallies ORDER BY run_id")
        with self.understood():
            return [(*row[:3], Figures(**figures_facts(row[3:]))) for row in rows]

    def by_model(self) -> dict[str, Figures]:
        """Return the figures of all runs by model."""
        return add_up(self.figures(), lambda row: row[2])

    def share_of_answers_over(self, tokens: int) -> float:
        """Return the share of answers, of the newest, that are longer than so many tokens.

        0: there is no answer. Of millions, those of the last attempts are looked at.

        One that was cut there, or just before, is longer.
        """
        query = (
            "SELECT avg(completion_tokens > ?1 OR (completion_tokens * 1.1 >= ?1 "
            "AND lower(code) IN ('length', 'max_tokens', 'max_output_tokens'))) "
            "FROM endings WHERE attempt_id > (SELECT max(attempt_id) FROM endings) - ?2 "
            "AND kind IN ('ok', 'unusable') AND completion_tokens > 0"
        )
        return float(self.one(query, tokens, _NEWEST_ATTEMPTS) or 0)

    # Files

    def known(self, path: str) -> FileRecord | None:
        """Return where an input stands; None: nothing is known of it."""
        return next(iter(self._files("folder = ? AND name = ?", split(path))), None)

    def files_in(self, folder: str) -> Iterator[Record]:
        """Yield the files directly in a folder ("" is the top) whose hooks were ever started.

        They come in the order in which Python sorts their names, a page at a time.
        """
        of, last = path_bytes(folder), b""
        while last < _BEYOND_NAMES:
            end = self.one(_PAGE_END, of, last, _SCANNED) or _BEYOND_NAMES
            rows = self.rows(_FILES_IN, (of, last, end))
            with self.understood():
                records = [
                    Record(
                        str(name, *PATH_CODEC),
                        _STATES[state],
                        () if final is None else (str(final, *PATH_CODEC),),
                        *facts,
                    )
                    for name, state, final, *facts in rows
                ]
            yield from _one_each(records)
            last = end

    def intents(self) -> Iterator[tuple[int, str, tuple[OutputFile, ...]]]:
        """Yield id, path and outputs of the files whose outputs are perhaps not all in place."""
        # The second condition is what lets SQLite use the index.
        for record in self._by_id("state = 'intent' AND state <> 'done'"):
            yield record.id, record.path, self.outputs(record.id)

    def suspects(self) -> Iterator[FileRecord]:
        """Yield the files that may have killed a process."""
        return self._by_id("is_suspect = 1 AND state <> 'done'")

    def made_by_other_hooks(self, hooks_version: str) -> Iterator[FileRecord]:
        """Yield the files that hooks of another version finished; its own are not read."""
        for other in self._other_hooks(hooks_version):
            yield from self._by_id("state = 'done' AND hooks_version = ?", other)

    def count_made_by_other_hooks(self, hooks_version: str) -> int:
        """Return how many they are, without reading them."""
        query = "SELECT count(*) FROM files WHERE state = 'done' AND hooks_version = ?"
        return sum(self.one(query, *other) for other in self._other_hooks(hooks_version))

    def _other_hooks(self, hooks_version: str) -> list[tuple[str]]:
        query = "SELECT DISTINCT hooks_version FROM runs WHERE hooks_version <> ?"
        return self.rows(query, (hooks_version,))

    def count_done(self) -> int:
        """Return how many files are done."""
        return self.one("SELECT files FROM standings WHERE state = 'done'") or 0

    def asked_about(self, at: float) -> FileRecord | None:
        """Return the finished file that a request was made for, at a share of all requests.

        None: that file is not done, or nothing was ever asked.
        """
        # In one query SQLite would read them all.
        queries = "SELECT min(id) FROM attempts", "SELECT max(id) FROM attempts"
        low, high = map(self.one, queries)
        if low is None:
            return None
        query = "SELECT file_id FROM attempts WHERE id >= ? ORDER BY id LIMIT 1"
        file_id = self.one(query, low + int((high - low) * at))
        return next(iter(self._files("id = ? AND state = 'done'", (file_id,))), None)

    def requests_of(self, file_id: int) -> dict[tuple[str, int], KeptRequest]:
        """Return what was asked for a file, by hash and k, the oldest first."""
        query = (
            "SELECT hash, k, run_id, model, prompt_tokens, completion_tokens, cached_tokens "
            "FROM attempts LEFT JOIN endings ON endings.attempt_id = attempts.id "
            "WHERE file_id = ? ORDER BY id"
        )
        found: dict[tuple[str, int], KeptRequest] = {}
        for hash, k, *facts in self.rows(query, (file_id,)):
            found[hash.hex(), k] = KeptRequest(*facts)
        return found

    def last_wall_s(self) -> float:
        """Return the newest time that is noted of a run, a request or its end; 0: none is."""
        newest = (
            "SELECT max(coalesce(ended_wall_s, started_wall_s)) FROM runs",
            "SELECT started_wall_s FROM attempts ORDER BY id DESC LIMIT 1",
            "SELECT ended_wall_s FROM endings ORDER BY attempt_id DESC LIMIT 1",
        )
        return max(self.one(query) or 0.0 for query in newest)

    def some_done(self) -> list[FileRecord]:
        """Return the files that were finished last, at most a few hundred of them."""
        where = "id > (SELECT max(id) - ? FROM files) AND state = 'done'"
        return self._files(where, (PAGE,))

    def outputs(self, file_id: int) -> tuple[OutputFile, ...]:
        """Return the outputs that the last intent of a file listed."""
        rows = self.rows(
            "SELECT staged, final, size_bytes, sha256, is_blank FROM outputs "
            "WHERE file_id = ? AND is_current ORDER BY final",
            (file_id,),
        )
        with self.understood():
            return tuple(
                OutputFile(
                    staged=path_text(staged),
                    final=path_text(final),
                    size_bytes=size_bytes,
                    sha256=sha256,
                    is_blank=bool(is_blank),
                )
                for staged, final, size_bytes, sha256, is_blank in rows
            )

    def owner_of_output(self, final: str) -> int | None:
        """Return the id of the file whose intents listed this output; None: nobody's."""
        query = "SELECT file_id FROM outputs WHERE final = ?"
        owner: int | None = self.one(query, path_bytes(final))
        return owner

    def appended_names(self) -> list[str]:
        """Return the names of the common files that hooks added lines to."""
        rows = self.rows("SELECT DISTINCT name FROM appended ORDER BY name")
        return [path_text(name) for (name,) in rows]

    def appended_lines(self, name: str) -> Iterator[bytes]:
        """Yield what files that are done added to a common file, in the order of their paths."""
        last: tuple[bytes, bytes] = (b"", b"")
        query = (
            "SELECT files.folder, files.name, lines FROM appended JOIN files ON files.id = file_id "
            "WHERE appended.name = ? AND state = 'done' AND (files.folder, files.name) > (?, ?) "
            "ORDER BY files.folder, files.name LIMIT ?"
        )
        while page := self.rows(query, (path_bytes(name), *last, PAGE)):
            yield from (lines for _, _, lines in page)
            last = page[-1][:2]

    def kept_lines(self, name: str) -> bytes:
        """Return lines of a common file that are of files which count as done."""
        query = "SELECT lines FROM appended WHERE name = ? AND file_id = 0"
        return bytes(self.one(query, path_bytes(name)) or b"")

    def has_found(self) -> bool:
        """Return whether files ever counted as done by outputs that no known run had made."""
        return self.one("SELECT 1 FROM meta WHERE key = 'has_found'") is not None

    def _by_id(self, condition: str, values: Sequence[Any] = ()) -> Iterator[FileRecord]:
        last = 0
        while page := self._page(condition, values, "id", last):
            yield from page
            last = page[-1].id

    def _page(
        self, condition: str, values: Sequence[Any], column: str, after: Any
    ) -> list[FileRecord]:
        where = f"{condition} AND {column} > ? ORDER BY {column} LIMIT {PAGE}"
        return self._files(where, (*values, after), order=column)

    def _files(self, where: str, values: Sequence[Any], order: str = "id") -> list[FileRecord]:
        rows = self.rows(
            f"SELECT found.*, outputs.final, outputs.is_blank, outputs.final IS NULL AND "  # noqa: S608
            "NOT EXISTS (SELECT 1 FROM appended WHERE appended.file_id = found.id) "
            f"FROM (SELECT {_COLUMNS} FROM files WHERE {where}) "
            "AS found LEFT JOIN outputs ON outputs.file_id = found.id AND outputs.is_current "
            f"ORDER BY found.{order}, outputs.final",
            values,
        )
        with self.understood():
            grouped = groupby(rows, lambda row: row[:_FILE_COLUMNS])
            return [_file(file, [row[_FILE_COLUMNS:] for row in group]) for file, group in grouped]

    # Calls, batches, keys

    def answers(self, file_id: int) -> dict[tuple[str, int, int], AnswerRecord]:
        """Return the answers of a file by (request hash, k, try)."""
        query = f"SELECT hash, k, try, {ANSWER_COLUMNS}, headers FROM answers WHERE file_id = ?"  # noqa: S608
        rows = self.rows(query, (file_id,))
        return {
            (hash.hex(), k, attempt_try): answer_record(kept)
            for hash, k, attempt_try, *kept in rows
        }

    def has_answers(self, file_id: int) -> bool:
        """Tell whether there is an answer to any call of a file."""
        return self.one("SELECT 1 FROM answers WHERE file_id = ? LIMIT 1", file_id) is not None

    def answer(self, call: CallId) -> AnswerRecord | None:
        """Return the answer to one call; None: there is none."""
        rows = self.rows(
            f"SELECT {ANSWER_COLUMNS}, headers FROM answers "  # noqa: S608
            "WHERE file_id = ? AND hash = ? AND k = ? AND try = ?",
            identity(call),
        )
        if rows or call.former is None:
            return answer_record(rows[0]) if rows else None
        hash, k = call.former
        return self.answer(replace(call, hash=hash, k=k, former=None))

    def batch_records(self, condition: str, *values: object) -> list[BatchRecord]:
        """Return batches, the oldest first."""
        rows = self.rows(f"SELECT * FROM batches WHERE {condition} ORDER BY id", values)  # noqa: S608
        with self.understood():
            return [_batch(row) for row in rows]

    def jobs(self) -> list[tuple[int, Mapping[str, Any]]]:
        """Return ids and facts of the jobs that are under way."""
        rows = self.rows("SELECT id, facts FROM jobs ORDER BY id")
        with self.understood():
            return [(job_id, json.loads(facts)) for job_id, facts in rows]

    def batch_counts(self) -> BatchCounts:
        """Return what waits in batch mode; counts rows."""
        queued = self.one("SELECT count(*) FROM lines WHERE batch_id IS NULL AND failure IS NULL")
        batches, lines = self.rows(
            "SELECT count(*), coalesce(sum(lines), 0) FROM batches "
            "WHERE job_id IS NULL AND stage NOT IN ('collected', 'closed')"
        )[0]
        suspended = self.one("SELECT count(*) FROM rounds WHERE is_suspended")
        return BatchCounts(queued=queued, in_batches=lines, batches=batches, suspended=suspended)

    def dropped_keys(self) -> dict[str, str]:
        """Return reasons by fingerprint of the keys that were dropped."""
        return dict(self.rows("SELECT fingerprint, reason FROM dropped_keys"))


def add_up(
    rows: Sequence[tuple[int, str, str, Figures]], name: Callable[[tuple[Any, ...]], Any]
) -> dict[Any, Figures]:
    """Return the sums of figures by what `name` picks of a row."""
    sums: dict[Any, Figures] = {}
    for row in rows:
        sums[name(row)] = sums.get(name(row), Figures()) + row[3]
    return sums


def totals(rows: Sequence[tuple[int, str, str, Figures]], run_id: int) -> RunTotals:
    """Return the figures of one run and of all."""
    return RunTotals(
        this_run=sum((row[3] for row in rows if row[0] == run_id), Figures()),
        all_runs=sum((row[3] for row in rows), Figures()),
    )


def _file(columns: Sequence[Any], outputs: Sequence[Sequence[Any]]) -> FileRecord:
    file_id, folder, name, state, failed_runs, is_suspect, hooks_version, signature = columns
    return FileRecord(
        id=file_id,
        path=join(folder, name),
        state=state and FileState(state),
        failed_runs=failed_runs,
        is_suspect=bool(is_suspect),
        hooks_version=hooks_version,
        input_signature=signature,
        finals=tuple(path_text(final) for final, *_ in outputs if final is not None),
        blank_outputs=sum(is_blank or 0 for _, is_blank, _ in outputs),
        wrote_nothing=any(wrote_nothing for *_, wrote_nothing in outputs),
    )


def _one_each(records: Sequence[Record]) -> Iterable[Record]:
    """Return one record for those of a file, of which each has one output."""
    if len({record.id for record in records}) == len(records):
        return records
    files = (list(group) for _, group in groupby(records, lambda record: record.id))
    return [
        group[0]._replace(
            finals=tuple(chain.from_iterable(record.finals for record in group)),
            blank_outputs=sum(record.blank_outputs for record in group),
        )
        for group in files
    ]


def answer_record(columns: Sequence[Any]) -> AnswerRecord:
    """Return what is kept in the ANSWER_COLUMNS, and in `headers` if that follows."""
    attempt_id, encoding, crc, body, *headers = columns
    kept = dict(line.partition(": ")[::2] for text in headers for line in text.splitlines())
    return AnswerRecord(
        attempt_id=attempt_id, encoding=encoding, crc=crc, stored=body, headers=kept
    )


def _batch(row: Sequence[Any]) -> BatchRecord:
    values = dict(zip(BatchRecord.__dataclass_fields__, row, strict=True))
    kept = {"stage": BatchStage(values["stage"]), "told": Told(**json.loads(values["told"]))}
    return BatchRecord(**{**values, **kept})
