"""The bill: which request was paid for, under which key, how often."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, BinaryIO

from .http_messages import json_bytes


@dataclass(slots=True, kw_only=True)
class Row:
    """One POST, or one line of a batch. Only the last two fields change after it was entered."""

    #: Counts POSTs from 1; 0 is a line of a batch.
    ordinal: int
    #: Seconds since the start; the ledger enters it.
    time_s: float = 0.0
    #: Of a line: its endpoint and "#line".
    path: str
    #: Name of the key, never its value; "" when there is no such key.
    key: str
    #: Hex SHA-256 of the body; of an upload, of the file in it.
    payload: str
    model: str
    #: Kind of the fault that was played; "" when none was.
    fault: str
    #: HTTP status; 0 when no reply is sent.
    status: int
    #: Whether the answer was made, and so paid for. Decided before anything is written.
    billed: bool
    prompt_tokens: int
    completion_tokens: int
    request_id: str
    #: The batch of a line, which is billed at half price; "": it is no line.
    batch: str = ""
    #: What the line calls itself.
    custom_id: str = ""
    #: Parts of the tokens that have a price of their own.
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    audio_prompt_tokens: int = 0
    audio_completion_tokens: int = 0
    #: What it was served at; "": as usual.
    service_tier: str = ""
    #: Of the reply, head included.
    bytes_sent: int = 0
    #: Whether the client hung up before the reply was written whole.
    client_closed: bool = False


_NAMES = tuple(field.name for field in fields(Row))
#: What the file holds: all that is known when a row is entered.
_FILE_NAMES = _NAMES[: _NAMES.index("bytes_sent")]


@dataclass(slots=True, kw_only=True)
class LedgerTotals:
    """Sums over rows. Tokens are those of billed rows."""

    requests: int = 0
    billed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, row: Row) -> None:
        """Count a row."""
        self.requests += 1
        if row.billed:
            self.billed += 1
            self.prompt_tokens += row.prompt_tokens
            self.completion_tokens += row.completion_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSummary:
    """What a ledger adds up to."""

    total: LedgerTotals = field(default_factory=LedgerTotals)
    #: Of the lines of batches, which are billed at half price.
    lines: LedgerTotals
    #: By name of the key.
    keys: dict[str, LedgerTotals]
    #: Rows by HTTP status.
    statuses: dict[int, int]
    #: Rows by fault, those without left out.
    faults: dict[str, int]
    #: Bodies that were billed more than once.
    billed_again: int
    in_flight_peak: int


class Ledger:
    """Rows in the order of arrival, in memory and, if wanted, as lines of JSON in a file.

    `_lock` guards the rows, the counts of requests in flight and what waits for the file.

    Args:
        path: of the file; None: there is none.
        clock: seconds that never go back.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(
        self, path: str | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._start_s = clock()
        self._rows: list[Row] = []
        self._in_flight = 0
        self._in_flight_peak = 0
        self._unwritten: list[Row] = []
        self._file: BinaryIO | None = None if path is None else open(path, "ab")  # noqa: SIM115

    def enter(self, row: Row) -> None:
        """Add a row whose reply is now being made."""
        with self._lock:
            self._in_flight += 1
            self._in_flight_peak = max(self._in_flight_peak, self._in_flight)
        self.note(row)

    def note(self, row: Row) -> None:
        """Add a row that has no reply of its own: a line of a batch."""
        row.time_s = self._clock() - self._start_s
        with self._lock:
            self._rows.append(row)
            if self._file is not None:
                self._unwritten.append(row)

    def leave(self, row: Row, *, bytes_sent: int, client_closed: bool) -> None:
        """Note how the reply of a row ended."""
        with self._lock:
            row.bytes_sent = bytes_sent
            row.client_closed = client_closed
            self._in_flight -= 1

    def rows(self) -> list[Row]:
        """Return all rows."""
        with self._lock:
            return list(self._rows)

    def billed(self, key: str | None = None) -> int:
        """Return how many requests and lines of batches were billed; a key of None: of all keys."""
        return sum(row.billed for row in self.rows() if key in (None, row.key))

    def hits(self, key: str | None = None) -> int:
        """Return how many requests and lines of batches came; a key of None means all keys."""
        return sum(key in (None, row.key) for row in self.rows())

    def by_payload(self) -> dict[str, list[Row]]:
        """Return the rows of each body, by its hex SHA-256."""
        groups = defaultdict(list)
        for row in self.rows():
            groups[row.payload].append(row)
        return dict(groups)

    @property
    def in_flight_peak(self) -> int:
        """The most requests that were open at once."""
        with self._lock:
            return self._in_flight_peak

    def summary(self) -> LedgerSummary:
        """Return the sums."""
        rows = self.rows()
        keys: dict[str, LedgerTotals] = defaultdict(LedgerTotals)
        total, lines = LedgerTotals(), LedgerTotals()
        for row in rows:
            total.add(row)
            if row.batch:
                lines.add(row)
            keys[row.key].add(row)
        bought = Counter(row.payload for row in rows if row.billed)
        return LedgerSummary(
            total=total,
            lines=lines,
            keys=dict(keys),
            statuses=dict(Counter(row.status for row in rows)),
            faults=dict(Counter(row.fault for row in rows if row.fault)),
            billed_again=sum(count > 1 for count in bought.values()),
            in_flight_peak=self.in_flight_peak,
        )

    def reset(self) -> None:
        """Forget all rows; the file keeps its lines."""
        self.flush()
        self._start_s = self._clock()
        with self._lock:
            self._rows.clear()
            self._in_flight_peak = self._in_flight

    def flush(self) -> None:
        """Write what waits for the file, or raise OSError."""
        with self._lock:
            rows, self._unwritten = self._unwritten, []
        if self._file is not None and rows:
            lines = [json_bytes(fields) + b"\n" for fields in rows_json(rows, _FILE_NAMES)]
            self._file.write(b"".join(lines))
            self._file.flush()

    def close(self) -> None:
        """Write what waits for the file and close it; the rows stay."""
        self.flush()
        if self._file is not None:
            self._file.close()


def rows_json(rows: Iterable[Row], names: Sequence[str] = _NAMES) -> list[dict[str, Any]]:
    """Return rows for JSON, with the named fields."""
    return [{name: getattr(row, name) for name in names} for row in rows]
