"""Know how many tokens each organisation may have waiting in batches, as told or as learned."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..core.records import Lease
from ..journal.batch_rows import BatchRecord
from ..keys.config import APIKey

#: Group of keys and model: limits belong to an organisation and are counted for each model.
Account = tuple[str, str]

#: How often a line is refused that stands alone, until it counts as too large. The limit belongs to
#: an organisation: others of it may use it up, and their batches are not always to be seen.
_PROOFS = 3
#: Where providers state the limit. OpenAI: "Limit: 90,000 enqueued tokens". Azure: "surpassed the
#: configured limit of 30K". Source: https://learn.microsoft.com/answers/questions/2285577 (2026).
_STATED = re.compile(r"\blimit(?:: | of )(\d[\d,]*(?:\.\d+)?)([KM]?)\b", re.IGNORECASE)
_SCALE = {"": 1, "K": 1_000, "M": 1_000_000}


class Bound(NamedTuple):
    """The largest line that a key can ever take."""

    #: Infinite: not known.
    tokens: float
    #: How that is known.
    why: str


_NO_BOUND = Bound(math.inf, "")


class EnqueuedTokenQuota:
    """Tokens that wait in batches, and how many may. Used by the scheduler's thread alone."""

    def __init__(
        self, keys: Iterable[APIKey], *, pause_s: float = 60.0, longest_pause_s: float | None = None
    ) -> None:
        """Count nothing yet.

        Args:
            pause_s: how long waits what cannot be made smaller and was refused; then longer.
            longest_pause_s: at most; None: always the same.
        """
        self._pause_s = pause_s
        self._longest_pause_s = pause_s if longest_pause_s is None else longest_pause_s
        #: Refusals in a row of what cannot be made smaller.
        self._in_a_row: Counter[Account] = Counter()
        self._groups = {key.name: key.group or key.name for key in keys}
        self._given = {key.name: key.enqueued_tokens for key in keys}
        self._enqueued: Counter[Account] = Counter()
        self._ever: Counter[str] = Counter()
        self._learned: dict[Account, float] = {}
        self._closed_until_s: dict[Account, float] = {}
        self._bounds: dict[Account, Bound] = {}
        #: How often a line of so many tokens stood alone and was refused.
        self._refusals: Counter[tuple[Account, int]] = Counter()

    def choose(self, leases: Sequence[Lease], model: str, now_s: float) -> tuple[Lease, float]:
        """Return the key with the most room, and its room in tokens (perhaps none)."""
        rooms = [self._room(lease.key_name, model, now_s) for lease in leases]
        # Where there is no limit, the one with the least in its batches, now and before.
        now = [-self._enqueued[self._account(lease.key_name, model)] for lease in leases]
        ever = [-self._ever[lease.key_name] for lease in leases]
        best = max(range(len(leases)), key=lambda n: (rooms[n], now[n], ever[n]))
        return leases[best], rooms[best]

    def is_free(self, key_name: str, model: str) -> bool:
        """Return whether nothing is known to wait under a key."""
        return not self._enqueued[self._account(key_name, model)]

    def taken(self, batch: BatchRecord) -> None:
        """Note that a batch was accepted: the next refusal is a first one."""
        del self._in_a_row[self._account(batch.key_name, batch.model)]

    def most(self, key_name: str, model: str) -> float:
        """Return the tokens that may wait at a time under a key, in the best case."""
        given = self._given.get(key_name)
        learned = self._learned.get(self._account(key_name, model), math.inf)
        return min(learned, math.inf if given is None else given)

    def bound(self, key_name: str, model: str) -> Bound:
        """Return the largest line that a key can ever take, as far as is known."""
        given = self._given.get(key_name)
        learned = self._bounds.get(self._account(key_name, model), _NO_BOUND)
        if given is None or learned.tokens < given:
            return learned
        return Bound(given, "enqueued_tokens in its settings")

    def enter(self, batch: BatchRecord) -> None:
        """Count a batch that waits."""
        self._ever[batch.key_name] += batch.tokens
        self._enqueued[self._account(batch.key_name, batch.model)] += batch.tokens

    def leave(self, batch: BatchRecord) -> None:
        """Count a batch no longer."""
        self._enqueued[self._account(batch.key_name, batch.model)] -= batch.tokens

    def refused(self, batch: BatchRecord, now_s: float, *, message: str, is_alone: bool) -> None:
        """Learn from a batch that was one too many; call it after `leave`.

        Args:
            message: what the provider said.
            is_alone: its key has no other batch at work, as far as the provider shows.
        """
        account = self._account(batch.key_name, batch.model)
        if batch.job_id is not None:  # a file goes as it is
            self._close(account, now_s, self._pause_s)
            return
        others = self._enqueued[account]
        # Half of it may fit beside the others; half of a single line cannot be sent.
        half = batch.tokens / 2 if batch.lines > 1 or not others else 0.0
        self._learned[account] = max(1.0, others, half)
        if others:
            return
        if batch.lines == 1 and self._is_proof(account, batch, message, is_alone=is_alone):
            return
        if batch.lines == 1:
            self._close(account, now_s, self._pause_s)

    def failed(self, batch: BatchRecord, now_s: float, pause_s: float) -> None:
        """Let nothing go for a while, longer each time, to where a batch failed for no reason."""
        self._close(self._account(batch.key_name, batch.model), now_s, pause_s)

    def _close(self, account: Account, now_s: float, pause_s: float) -> None:
        longer_s = pause_s * 2.0 ** min(self._in_a_row[account], 20)
        self._in_a_row[account] += 1
        self._closed_until_s[account] = now_s + min(self._longest_pause_s, longer_s)

    def _is_proof(
        self, account: Account, batch: BatchRecord, message: str, *, is_alone: bool
    ) -> bool:
        """Return whether a line that was refused can never be taken, and note it if so."""
        stated = stated_limit(message)
        if stated is not None and batch.tokens > stated:
            self._bounds[account] = Bound(stated, message)
            return True
        # Tokens are estimated. Of what is far below the limit, it is known that others use it up.
        if not is_alone or (stated is not None and 2 * batch.tokens < stated):
            return False
        self._refusals[account, batch.tokens] += 1
        if self._refusals[account, batch.tokens] < _PROOFS:
            return False
        self._bounds[account] = Bound(batch.tokens - 1, message)
        return True

    def _room(self, key_name: str, model: str, now_s: float) -> float:
        account = self._account(key_name, model)
        if self._closed_until_s.get(account, -math.inf) > now_s:
            return 0.0
        return max(0.0, self.most(key_name, model) - self._enqueued[account])

    def _account(self, key_name: str, model: str) -> Account:
        return self._groups.get(key_name, key_name), model


def stated_limit(message: str) -> float | None:
    """Return the limit of enqueued tokens that a refusal states; None: it states none."""
    found = _STATED.search(message)
    if found is None:
        return None
    return float(found[1].replace(",", "")) * _SCALE[found[2].upper()]
