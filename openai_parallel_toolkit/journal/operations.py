"""What can be written: rows of which many are written together, and changes one by one.

Each call into SQLite gives up the interpreter's lock, and getting it back from a busy event loop is
what costs; so few calls are made.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import chain, groupby
from typing import Any, NamedTuple, TypeAlias, TypeVar

from ..core.errors import OutputConflict
from ..core.filesystem import path_bytes, path_text
from ..core.records import CallId, Outcome, OutputFile
from .columns import join, split, text, usd, whole
from .rows import PLAIN, ZLIB

#: Shorter answers are kept as they are.
_SMALL_BYTES = 512
#: Those up to here are packed as tight in a small window, whose memory is not fetched anew from the
#: system for each.
_SHORT_BYTES, _WINDOW_BITS, _MEMORY_LEVEL = 8_192, 12, 5
#: Rows of one statement, largest first: few shapes, so that SQLite compiles each of them once, and
#: below the 999 parameters that older versions take.
_CHUNKS = (64, 32, 16, 8, 4, 2, 1)
_Item = TypeVar("_Item")


class NewFile(NamedTuple):
    """An input that was not known."""

    file_id: int
    path: str


class Claimed(NamedTuple):
    """An attempt that is about to be sent."""

    attempt_id: int
    run_id: int
    call: CallId
    key_name: str
    model: str
    max_cost_usd: Decimal | None
    started_wall_s: float
    #: The most that the answer has; None: not known; 0: it is not kept, or can be fetched again.
    reply_bytes: int | None = 0
    #: The request, where it is kept.
    body: bytes | None = None
    #: How long it waited for a key, and for what.
    waited_s: float = 0.0
    wait_reason: str = ""


class Ended(NamedTuple):
    """An attempt that has ended, with the answer if there is one."""

    attempt_id: int
    outcome: Outcome
    cost_usd: Decimal | None
    ended_wall_s: float
    answer: tuple[CallId, bytes] | None
    #: Of the answer, those that are kept.
    headers: Mapping[str, str] = {}
    #: From its sending to its end; None: it was not sent, or that is not known.
    service_s: float | None = None
    #: As the answer says; "": it does not.
    finish_reason: str = ""


class Intent(NamedTuple):
    """The outputs are staged. Those of earlier intents stay the file's own, but are not current."""

    file_id: int
    outputs: Sequence[OutputFile]
    wall_s: float


class FileDone(NamedTuple):
    """The outputs are in place."""

    file_id: int
    hooks_version: str
    signature: str | None
    wall_s: float


#: A change of a file, a run, a key or a batch, made inside the writer's transaction.
Change: TypeAlias = Callable[[sqlite3.Connection], object]
Operation: TypeAlias = NewFile | Claimed | Ended | Intent | FileDone | Change


def statements(*steps: tuple[str, Sequence[Sequence[object]]]) -> Change:
    """Return a change that executes statements in their order, each for all its rows."""

    def change(db: sqlite3.Connection) -> None:
        for statement, rows in steps:
            db.executemany(statement, rows)

    return change


def insert_files(db: sqlite3.Connection, files: Sequence[NewFile]) -> None:
    """Insert inputs."""
    rows = [(file_id, *split(path), "open") for file_id, path in files]
    _insert(db, "INSERT INTO files (id, folder, name, state) VALUES {}", rows)


def insert_attempts(db: sqlite3.Connection, claims: Sequence[Claimed]) -> None:
    """Insert attempts that have no end yet, and those requests that are kept."""
    rows = [
        (
            *(claim.attempt_id, claim.run_id, *identity(claim.call)),
            *(text(claim.key_name), text(claim.model), usd(claim.max_cost_usd)),
            *(claim.started_wall_s, claim.waited_s, claim.wait_reason),
        )
        for claim in claims
    ]
    _insert(db, "INSERT INTO attempts VALUES {}", rows)
    rows = [_request_row(claim.attempt_id, claim.body) for claim in claims if claim.body]
    _insert(db, "INSERT INTO requests VALUES {}", rows)


def insert_endings(db: sqlite3.Connection, endings: Sequence[Ended]) -> None:
    """Insert the ends of attempts and the answers that came with them.

    A call is answered once: whoever comes later does not change what a hook has seen.
    """
    rows = [_ending_row(ending) for ending in endings]
    _insert(db, "INSERT INTO endings VALUES {} ON CONFLICT DO NOTHING", rows)
    rows = [_answer_row(one, *one.answer) for one in endings if one.answer]
    _insert(db, "INSERT INTO answers VALUES {} ON CONFLICT DO NOTHING", rows)


def claimed(db: sqlite3.Connection, endings: Sequence[Ended]) -> list[Ended]:
    """Return the endings of attempts that the journal knows."""
    query = "SELECT 1 FROM attempts WHERE id = ?"
    return [one for one in endings if db.execute(query, (one.attempt_id,)).fetchone()]


def _ending_row(ending: Ended) -> tuple[Any, ...]:
    outcome, usage = ending.outcome, ending.outcome.usage
    return (
        *(ending.attempt_id, outcome.kind.value, whole(outcome.status)),
        *(text(outcome.code), text(outcome.message)),
        whole(usage.prompt_tokens) if usage else None,
        whole(usage.completion_tokens) if usage else None,
        whole(usage.cached_tokens) if usage else None,
        *(usd(ending.cost_usd), text(outcome.request_id), ending.ended_wall_s),
        *(ending.service_s, text(ending.finish_reason)),
    )


def _request_row(attempt_id: int, body: bytes) -> tuple[Any, ...]:
    encoding, stored = packed(body)
    return attempt_id, encoding, zlib.crc32(stored), stored


def _answer_row(ending: Ended, call: CallId, body: bytes) -> tuple[Any, ...]:
    encoding, stored = packed(body)
    headers = text("\n".join(f"{name}: {value}" for name, value in ending.headers.items()))
    return (ending.attempt_id, *identity(call), encoding, zlib.crc32(stored), stored, headers)


def identity(call: CallId) -> tuple[Any, ...]:
    """Return the columns that name a call."""
    return call.file_id, bytes.fromhex(call.hash), call.k, call.attempt_try


def packed(body: bytes) -> tuple[int, bytes]:
    """Return how the bytes are kept, and what is kept of them."""
    if len(body) < _SMALL_BYTES:
        return PLAIN, body
    if len(body) <= _SHORT_BYTES:
        packer = zlib.compressobj(1, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL)
        packed = packer.compress(body) + packer.flush()
    else:
        packed = zlib.compress(body, 1)
    return (ZLIB, packed) if len(packed) < len(body) else (PLAIN, body)


def write_intents(db: sqlite3.Connection, intents: Sequence[Intent]) -> None:
    """Write the intents of files, at least one."""
    rows = [_output_row(intent.file_id, output) for intent in intents for output in intent.outputs]
    _check_owners(db, rows)
    ids = [intent.file_id for intent in intents]
    _for_all(db, "UPDATE outputs SET is_current = 0 WHERE file_id IN ({})", ids)
    _insert(db, "INSERT OR REPLACE INTO outputs VALUES {}", rows)
    change = "UPDATE files SET state = 'intent', changed_wall_s = ? WHERE id IN ({})"
    _for_all(db, change, ids, intents[-1].wall_s)


def write_done(db: sqlite3.Connection, done: Sequence[FileDone]) -> None:
    """Write that files are done."""
    for version, of_version in groupby(done, lambda file: file.hooks_version):
        for files in _in_chunks(list(of_version)):
            ids = [file.file_id for file in files]
            cases = " ".join(["WHEN ? THEN ?"] * len(files))
            signatures = [value for file in files for value in (file.file_id, file.signature)]
            db.execute(
                "UPDATE files SET state = 'done', failed_runs = 0, failed_run_id = NULL, "  # noqa: S608
                "is_suspect = 0, failure_kind = NULL, failure_message = NULL, "
                "failure_trace = NULL, hooks_version = ?, changed_wall_s = ?, "
                f"input_signature = CASE id {cases} END WHERE id IN ({_marks(len(ids))})",
                (text(version), files[-1].wall_s, *signatures, *ids),
            )


def _output_row(file_id: int, output: OutputFile) -> tuple[Any, ...]:
    staged, final = path_bytes(output.staged), path_bytes(output.final)
    return file_id, staged, final, output.size_bytes, output.sha256, 1, output.is_blank


def _check_owners(db: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    taken: dict[bytes, int] = {}
    for file_id, _, final, *_ in rows:
        if taken.setdefault(final, file_id) != file_id:
            raise _conflict(final, "")
    for chunk in _in_chunks(list(taken)):
        owners = db.execute(
            "SELECT final, file_id, folder, name FROM outputs JOIN files ON files.id = file_id "  # noqa: S608
            f"WHERE final IN ({_marks(len(chunk))})",
            chunk,
        )
        for final, owner_id, folder, name in owners.fetchall():
            if owner_id != taken[final]:
                raise _conflict(final, join(folder, name))


def _conflict(final: bytes, owner: str) -> OutputConflict:
    path = path_text(final)
    return OutputConflict(
        f"The output {path!r} already belongs to {owner!r}; give each file its own name, or add "
        "lines to one that all share with append_line.",
        path=path,
        owner=owner,
    )


def _insert(db: sqlite3.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows; `statement` has {} where the values go."""
    for chunk in _in_chunks(rows):
        row = f"({_marks(len(chunk[0]))})"
        values = tuple(chain.from_iterable(chunk))
        db.execute(statement.format(",".join([row] * len(chunk))), values)


def _for_all(db: sqlite3.Connection, statement: str, ids: Sequence[int], *values: object) -> None:
    """Execute a statement for many ids; it has {} where they go, after the marks of `values`."""
    for chunk in _in_chunks(ids):
        db.execute(statement.format(_marks(len(chunk))), (*values, *chunk))


def _in_chunks(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """Yield pieces of few different lengths."""
    start = 0
    while start < len(items):
        size = next(size for size in _CHUNKS if size <= len(items) - start)
        yield items[start : start + size]
        start += size


def _marks(count: int) -> str:
    return ",".join("?" * count)
