"""Add up attempts by run, key and model while they are written, so that nobody has to count later.

Used by one thread at a time. What a batch would change is worked out beside the state (`stage`),
and taken over only when the batch is on the disk (`apply`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TypeAlias

from ..core.errors import JournalError
from ..costs.figures import COUNTED, Figures
from .columns import decimal, figures_facts, figures_row, text
from .operations import Claimed, Ended

#: Run, key name, model.
Account: TypeAlias = tuple[int, str, str]
#: Whose attempt it is, and the most it can cost.
Open: TypeAlias = tuple[Account, Decimal | None]

_SELECT = f"SELECT {', '.join(COUNTED)} FROM tallies WHERE (run_id, key_name, model) = (?, ?, ?)"  # noqa: S608
_UPSERT = (
    f"INSERT INTO tallies VALUES ({', '.join('?' * (3 + len(COUNTED)))}) "  # noqa: S608
    f"ON CONFLICT DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in COUNTED)}"
)
_SELECT_OPEN = (
    "SELECT run_id, key_name, model, max_cost_usd, endings.attempt_id FROM attempts "
    "LEFT JOIN endings ON endings.attempt_id = attempts.id WHERE attempts.id = ?"
)


@dataclass(slots=True)
class StagedTallies:
    """What a batch changes."""

    tallies: dict[Account, Figures] = field(default_factory=dict)
    opened: dict[int, Open] = field(default_factory=dict)
    closed: set[int] = field(default_factory=set)


class Tallies:
    """The sums of the accounts that were touched, and the attempts in flight."""

    def __init__(self) -> None:
        self._kept: dict[Account, Figures] = {}
        self._open: dict[int, Open] = {}

    def stage(
        self, db: sqlite3.Connection, claims: Iterable[Claimed], endings: Iterable[Ended]
    ) -> StagedTallies:
        """Write the sums as they are after these claims and endings.

        An attempt ends once: a second ending is left out.

        Raises:
            JournalError: an ending of an attempt that was never claimed.
        """
        staged = StagedTallies()
        for claim in claims:
            account = claim.run_id, text(claim.key_name), text(claim.model)
            staged.opened[claim.attempt_id] = account, claim.max_cost_usd
            self._figures(db, staged, account).begin(claim.max_cost_usd)
        for ending in endings:
            if ending.attempt_id not in staged.closed:
                found = self._find(db, staged, ending.attempt_id)
                staged.closed.add(ending.attempt_id)
                if found is not None:
                    account, most_usd = found
                    figures = self._figures(db, staged, account)
                    figures.end(most_usd, ending.outcome, ending.cost_usd)
        for account, figures in staged.tallies.items():
            db.execute(_UPSERT, account + figures_row(figures))
        return staged

    def apply(self, staged: StagedTallies) -> None:
        """Take over what was staged, now that it is on the disk."""
        self._kept.update(staged.tallies)
        self._open.update(staged.opened)
        for attempt_id in staged.closed:
            self._open.pop(attempt_id, None)

    def _figures(self, db: sqlite3.Connection, staged: StagedTallies, account: Account) -> Figures:
        figures = staged.tallies.get(account)
        if figures is None and account in self._kept:
            figures = replace(self._kept[account])
        elif figures is None:
            row = db.execute(_SELECT, account).fetchone()
            figures = Figures() if row is None else Figures(**figures_facts(row))
        staged.tallies[account] = figures
        return figures

    def _find(self, db: sqlite3.Connection, staged: StagedTallies, attempt_id: int) -> Open | None:
        found = staged.opened.get(attempt_id) or self._open.get(attempt_id)
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
