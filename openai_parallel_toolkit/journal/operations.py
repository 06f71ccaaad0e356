"""What can be written: rows that are inserted in bulk, and changes that are made one by one."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias

from ..core.records import CallId, Outcome
from .bulk import insert
from .columns import split, text, usd, whole
from .output_commits import Finished, Intent
from .rows import PLAIN, ZLIB

#: Shorter answers are kept as they are.
_SMALL_BYTES = 512

_INSERT_FILES = "INSERT INTO files (id, folder, name, state) VALUES {}"
_INSERT_ATTEMPTS = "INSERT INTO attempts VALUES {}"
# A call is answered once: whoever comes later does not change what a hook has seen.
_INSERT_ENDINGS = "INSERT INTO endings VALUES {} ON CONFLICT DO NOTHING"
_INSERT_ANSWERS = "INSERT INTO answers VALUES {} ON CONFLICT DO NOTHING"


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


class Ended(NamedTuple):
    """An attempt that has ended, with the answer if there is one."""

    attempt_id: int
    outcome: Outcome
    cost_usd: Decimal | None
    ended_wall_s: float
    answer: tuple[CallId, bytes] | None


#: A change of a file, a run or a key.
Change: TypeAlias = Callable[[sqlite3.Connection], None]
Operation: TypeAlias = NewFile | Claimed | Ended | Intent | Finished | Change


def insert_files(db: sqlite3.Connection, files: Sequence[NewFile]) -> None:
    """Insert inputs."""
    insert(db, _INSERT_FILES, [(file_id, *split(path), "open") for file_id, path in files])


def insert_attempts(db: sqlite3.Connection, claims: Sequence[Claimed]) -> None:
    """Insert attempts that have no end yet."""
    insert(db, _INSERT_ATTEMPTS, [_attempt_row(claim) for claim in claims])


def insert_endings(db: sqlite3.Connection, endings: Sequence[Ended]) -> None:
    """Insert the ends of attempts and the answers that came with them."""
    insert(db, _INSERT_ENDINGS, [_ending_row(ending) for ending in endings])
    answers = [
        _answer_row(ending.attempt_id, *ending.answer) for ending in endings if ending.answer
    ]
    insert(db, _INSERT_ANSWERS, answers)


def _attempt_row(claim: Claimed) -> tuple[Any, ...]:
    call = claim.call
    return (
        claim.attempt_id,
        claim.run_id,
        call.file_id,
        bytes.fromhex(call.hash),
        call.k,
        call.attempt_try,
        text(claim.key_name),
        text(claim.model),
        usd(claim.max_cost_usd),
        claim.started_wall_s,
    )


def _ending_row(ending: Ended) -> tuple[Any, ...]:
    outcome, usage = ending.outcome, ending.outcome.usage
    return (
        ending.attempt_id,
        outcome.kind.value,
        whole(outcome.status),
        text(outcome.code),
        text(outcome.message),
        whole(usage.prompt_tokens) if usage else None,
        whole(usage.completion_tokens) if usage else None,
        whole(usage.cached_tokens) if usage else None,
        usd(ending.cost_usd),
        text(outcome.request_id),
        ending.ended_wall_s,
    )


def _answer_row(attempt_id: int, call: CallId, body: bytes) -> tuple[Any, ...]:
    encoding, stored = packed(body)
    identity = call.file_id, bytes.fromhex(call.hash), call.k, call.attempt_try
    return (attempt_id, *identity, encoding, zlib.crc32(stored), stored)


def packed(body: bytes) -> tuple[int, bytes]:
    """Return how the bytes are kept, and what is kept of them."""
    if len(body) >= _SMALL_BYTES:
        packed = zlib.compress(body, 1)
        if len(packed) < len(body):
            return ZLIB, packed
    return PLAIN, body
