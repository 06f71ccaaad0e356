"""Add up attempts by run, key and model while they are written, so that nobody has to count later.

Used by one thread at a time. What a batch would change is worked out beside the state (`fold`), and
taken over only when the batch is on the disk (`adopt`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, TypeAlias

from ..core.errors import JournalError
from ..core.records import OutcomeKind
from .columns import decimal, text, usd, whole
from .operations import Claimed, Ended
from .rows import FIGURES

#: Run, key name, model.
Account: TypeAlias = tuple[int, str, str]
#: Whose attempt it is, and the most it can cost.
Open: TypeAlias = tuple[Account, Decimal | None]

_SELECT = f"SELECT {', '.join(FIGURES)} FROM tallies WHERE (run_id, key_name, model) = (?, ?, ?)"  # noqa: S608
_UPSERT = (
    f"INSERT INTO tallies VALUES ({', '.join('?' * (3 + len(FIGURES)))}) "  # noqa: S608
    f"ON CONFLICT DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in FIGURES)}"
)
_SELECT_OPEN = (
    "SELECT run_id, key_name, model, max_cost_usd, endings.attempt_id FROM attempts "
    "LEFT JOIN endings ON endings.attempt_id = attempts.id WHERE attempts.id = ?"
)


@dataclass(slots=True)
class _Tally:
    """`rows.Figures` while they change; the fields are the same."""

    sent: int = 0
    answered: int = 0
    unknown: int = 0
    unanswered: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    doubt_usd: Decimal = Decimal(0)
    unpriced: int = 0

    def claim(self, most_usd: Decimal | None) -> None:
        self.sent += 1
        self.unanswered += 1
        self._doubt(most_usd, 1)

    def end(self, most_usd: Decimal | None, ending: Ended) -> None:
        kind, usage = ending.outcome.kind, ending.outcome.usage
        self.unanswered -= 1
        self.sent -= kind is OutcomeKind.UNSENT
        self.answered += kind is OutcomeKind.OK
        self.unknown += kind is OutcomeKind.UNKNOWN
        if usage:
            self.prompt_tokens += usage.prompt_tokens
            self.completion_tokens += usage.completion_tokens
            self.cached_tokens += usage.cached_tokens
        if ending.cost_usd is not None:
            self.cost_usd += ending.cost_usd
        if ending.cost_usd is not None or kind not in (OutcomeKind.OK, OutcomeKind.UNKNOWN):
            self._doubt(most_usd, -1)

    def _doubt(self, most_usd: Decimal | None, sign: int) -> None:
        if most_usd is None:
            self.unpriced += sign
        else:
            self.doubt_usd += sign * most_usd

    def row(self) -> tuple[Any, ...]:
        values = (getattr(self, name) for name in FIGURES)
        return tuple(usd(v) if isinstance(v, Decimal) else whole(v) for v in values)


@dataclass(slots=True)
class Folded:
    """What a batch changes."""

    tallies: dict[Account, _Tally] = field(default_factory=dict)
    opened: dict[int, Open] = field(default_factory=dict)
    closed: set[int] = field(default_factory=set)


class Tallies:
    """The sums of the accounts that were touched, and the attempts in flight."""

    def __init__(self) -> None:
        self._kept: dict[Account, _Tally] = {}
        self._open: dict[int, Open] = {}

    def fold(
        self, db: sqlite3.Connection, claims: Iterable[Claimed], endings: Iterable[Ended]
    ) -> Folded:
        """Write the sums as they are after these claims and endings.

        An attempt ends once: a second ending is left out.

        Raises:
            JournalError: an ending of an attempt that was never claimed.
        """
        folded = Folded()
        for claim in claims:
            account = claim.run_id, text(claim.key_name), text(claim.model)
            folded.opened[claim.attempt_id] = account, claim.max_cost_usd
            self._tally(db, folded, account).claim(claim.max_cost_usd)
        for ending in endings:
            if ending.attempt_id not in folded.closed:
                found = self._find(db, folded, ending.attempt_id)
                folded.closed.add(ending.attempt_id)
                if found is not None:
                    self._tally(db, folded, found[0]).end(found[1], ending)
        for account, tally in folded.tallies.items():
            db.execute(_UPSERT, account + tally.row())
        return folded

    def adopt(self, folded: Folded) -> None:
        """Take over what was folded, now that it is on the disk."""
        self._kept.update(folded.tallies)
        self._open.update(folded.opened)
        for attempt_id in folded.closed:
            self._open.pop(attempt_id, None)

    def _tally(self, db: sqlite3.Connection, folded: Folded, account: Account) -> _Tally:
        tally = folded.tallies.get(account)
        if tally is None:
            kept = self._kept.get(account) or _read(db, account)
            tally = folded.tallies[account] = replace(kept)
        return tally

    def _find(self, db: sqlite3.Connection, folded: Folded, attempt_id: int) -> Open | None:
        found = folded.opened.get(attempt_id) or self._open.get(attempt_id)
        if found is not None:
            return found
        row = db.execute(_SELECT_OPEN, (attempt_id,)).fetchone()
        if row is None:
            raise JournalError(
                f"Attempt {attempt_id} ended, but the journal never knew that it began; this is "
                "a fault of the program, please report it.",
                attempt_id=attempt_id,
            )
        *account, most_usd, ended_id = row
        return None if ended_id is not None else ((*account,), decimal(most_usd))


def _read(db: sqlite3.Connection, account: Account) -> _Tally:
    row = db.execute(_SELECT, account).fetchone()
    if row is None:
        return _Tally()
    values = dict(zip(FIGURES, row, strict=True))
    values["cost_usd"] = Decimal(values["cost_usd"])
    values["doubt_usd"] = Decimal(values["doubt_usd"])
    return _Tally(**values)
