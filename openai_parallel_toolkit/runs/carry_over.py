"""What a run takes over from the runs before it: dead keys, and money that is spent."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

from ..core.text import counted
from ..costs.budget import Budget
from ..journal import Journal
from ..keys import APIKeyManager

logger = logging.getLogger(__name__)


@contextmanager
def dead_keys_known(journal: Journal, keys: APIKeyManager) -> Iterator[None]:
    """Put keys on trial that were dropped before, and remember which are dropped in the block."""
    salt = journal.salt
    keys.recall_drops(salt, journal.dropped_keys())

    def remember(name: str, reason: str) -> None:
        journal.key_dropped(keys.fingerprints(salt)[name], name, reason)

    forget = keys.on_drop(remember)
    try:
        yield
    finally:
        forget()


def forgive_keys(journal: Journal, keys: APIKeyManager) -> None:
    """Forget that keys were dropped which have proved to be alive."""
    fingerprints = keys.fingerprints(journal.salt)
    remembered = journal.dropped_keys()
    for status in keys.status():
        fingerprint = fingerprints.get(status.name, "")
        if fingerprint in remembered and status.state == "alive" and status.requests:
            journal.key_restored(fingerprint)


def budget_left(journal: Journal, max_cost_usd: Decimal | None) -> Budget | None:
    """Return what is left of a cap for all runs; None: there is no cap."""
    if max_cost_usd is None:
        return None
    earlier = journal.totals().all_runs
    if earlier.unpriced:
        logger.warning(
            "max_cost: %s of earlier runs had no known price and are not counted in",
            counted(earlier.unpriced, "request"),
        )
    return Budget(max_cost_usd, spent_usd=earlier.max_cost_usd)
