"""What batch mode reads of the journal: calls that wait, and the batches they are in."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.records import CallId, OutcomeKind, Request
from .batch_rows import BatchCounts, BatchRecord, Line, Queued, Refusal, ReturnedLine, Sent
from .columns import decimal
from .queries import ANSWER_COLUMNS, JournalQueries, answer_record

_PAGE = 200
_SENT_COLUMNS = "attempt_id, file_id, hash, k, try, max_cost_usd, sends"
_WAITING = "batch_id IS NULL AND failure IS NULL"
_QUEUED = {False: _WAITING, True: f"{_WAITING} AND sends = 0"}


@dataclass(frozen=True, slots=True)
class BatchQueries:
    """Reads lines, batches, rounds and jobs."""

    _source: JournalQueries

    # Files

    def round_of(self, file_id: int) -> tuple[int, bytes]:
        """Return how often a file was suspended in this run, and the marks of its last asks."""
        query = "SELECT rounds, asked FROM rounds WHERE file_id = ?"
        rows = self._source.rows(query, (file_id,))
        return (rows[0][0], bytes(rows[0][1])) if rows else (0, b"")

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

    # Lines

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

    def returned_lines(self, after: int, limit: int) -> list[ReturnedLine]:
        """Return queued lines that came back from a batch or are set aside, from a line on."""
        rows = self._source.rows(
            "SELECT id, file_id, hash, k, try, path, model, tokens, reply_tokens, sends, encoding, "
            "crc, body FROM lines WHERE batch_id IS NULL AND failure IS NULL AND sends <> 0 "
            "AND id > ? ORDER BY id LIMIT ?",
            (after, limit),
        )
        return [_returned_line(*row) for row in rows]

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

    # Batches and jobs

    def open_batches(self) -> list[BatchRecord]:
        """Return the batches of hooks' calls that are not closed, the oldest first."""
        return self._source.batch_records("job_id IS NULL AND stage <> 'closed'")

    def rounds_of(self, job_id: int) -> list[BatchRecord]:
        """Return the batches of a job, the oldest first."""
        return self._source.batch_records("job_id = ?", job_id)

    def reload(self, batch: BatchRecord) -> BatchRecord:
        """Return a batch as it is noted now."""
        return self._source.batch_records("id = ?", batch.id)[0]

    def jobs(self) -> list[tuple[int, Mapping[str, Any]]]:
        """Return the ids of the jobs that are under way, and what is known of each."""
        return self._source.jobs()


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
