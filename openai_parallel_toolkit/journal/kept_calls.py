"""Attempts as they are kept: what was asked and waited for, how it ended and what came."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ..core.records import OutcomeKind
from .columns import decimal, join
from .rows import ZLIB, AnswerRecord, Attempt, AttemptEnding, StoredBody

_ATTEMPT = tuple(one.name for one in fields(Attempt))[:-3]
_ENDING = tuple(one.name for one in fields(AttemptEnding))
_NAMED_OTHERWISE = {"attempt_try": "try"}
_COLUMNS = ", ".join(
    (
        "folder, name",
        *(f"attempts.{_NAMED_OTHERWISE.get(name, name)}" for name in _ATTEMPT),
        *(f"endings.{name}" for name in _ENDING),
        *(f"requests.{name}" for name in ("encoding", "crc", "body")),
        *(f"answers.{name}" for name in ("encoding", "crc", "body", "headers")),
    )
)
_FROM = (
    "FROM attempts LEFT JOIN endings ON endings.attempt_id = attempts.id "
    "LEFT JOIN requests ON requests.attempt_id = attempts.id "
    "LEFT JOIN answers ON answers.attempt_id = attempts.id "
)
#: Rows for `attempt_of`; WHERE is to follow.
KEPT_CALLS = f"SELECT {_COLUMNS} {_FROM} LEFT JOIN files ON files.id = attempts.file_id"
#: Rows for `found_in`.
TEXTS = (
    "SELECT attempts.id, requests.encoding, requests.body, answers.encoding, answers.body, "
    f"message {_FROM}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFilter:
    """Which attempts are wanted; None: whatever it is."""

    file_id: int | None = None
    run_id: int | None = None
    kind: OutcomeKind | None = None
    code: str | None = None
    key_name: str | None = None
    model: str | None = None

    def condition(self) -> tuple[str, list[Any]]:
        """Return it as SQL, and the values of its marks."""
        given = [(one.name, getattr(self, one.name)) for one in fields(self)]
        chosen = [(name, value) for name, value in given if value is not None]
        tests = [f"+{_TABLES.get(name, 'attempts')}.{name} = ?" for name, _ in chosen]
        if self.file_id is not None:  # the only one with an index
            tests[0] = tests[0].lstrip("+")
        values = [value.value if isinstance(value, OutcomeKind) else value for _, value in chosen]
        return " AND ".join(["1", *tests]), values


_TABLES = {"kind": "endings", "code": "endings"}


def attempt_of(row: Sequence[Any]) -> tuple[str, Attempt]:
    """Return the path of its file ("": none is known) and an attempt, out of KEPT_CALLS."""
    folder, name, *columns = row
    facts = dict(zip(_ATTEMPT, columns[: len(_ATTEMPT)], strict=True))
    rest = columns[len(_ATTEMPT) :]
    ending, request, answer = rest[: len(_ENDING)], rest[len(_ENDING) : -4], rest[-4:]
    facts["hash"] = facts["hash"].hex()
    facts["max_cost_usd"] = decimal(facts["max_cost_usd"])
    headers = dict(line.partition(": ")[::2] for line in (answer[3] or "").splitlines())
    kept = _body_of(facts["id"], answer[:3])
    attempt = Attempt(
        **facts,
        ending=_ending_of(ending),
        request=None if request[0] is None else StoredBody(**_body_of(facts["id"], request)),
        answer=None if answer[0] is None else AnswerRecord(**kept, headers=headers),
    )
    return ("" if name is None else join(folder, name)), attempt


def _body_of(attempt_id: int, columns: Sequence[Any]) -> dict[str, Any]:
    encoding, crc, stored = columns
    return {"attempt_id": attempt_id, "encoding": encoding, "crc": crc, "stored": stored}


def _ending_of(columns: Sequence[Any]) -> AttemptEnding | None:
    if columns[0] is None:
        return None
    facts = dict(zip(_ENDING, columns, strict=True))
    facts["kind"], facts["cost_usd"] = OutcomeKind(facts["kind"]), decimal(facts["cost_usd"])
    return AttemptEnding(**facts)


def found_in(rows: Sequence[Sequence[Any]], text: str) -> Iterator[int]:
    """Yield the attempts, of rows of TEXTS, whose request, answer or message holds a text.

    Capital letters are as small ones.
    """
    escaped = json.dumps(text)[1:-1]
    wanted = {text.lower(), escaped.lower(), json.dumps(text, ensure_ascii=False)[1:-1].lower()}
    is_plain = text.isascii()
    needles = [one.encode("utf-8", "replace") for one in wanted]
    for attempt_id, *bodies, message in rows:
        for encoding, stored in (bodies[:2], bodies[2:]):
            if stored is None:
                continue
            try:
                body = zlib.decompress(stored) if encoding == ZLIB else stored
            except zlib.error:  # damaged: `repair` tells
                continue
            # Bytes know small letters of English alone.
            body = body.lower() if is_plain else _lowered(body)
            if any(needle in body for needle in needles):
                yield attempt_id
                break
        else:
            if message and text.lower() in message.lower():
                yield attempt_id


def _lowered(body: bytes) -> bytes:
    return body.decode("utf-8", "replace").lower().encode()
