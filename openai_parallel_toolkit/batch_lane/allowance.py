"""Know how many tokens each organisation may have waiting in batches, as told or as learned."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from ..journal.batch_rows import BatchRecord
from ..records import Lease
from ..settings import APIKey

#: Group of keys and model: limits belong to an organisation and are counted for each model.
Account = tuple[str, str]

#: After a refusal that nothing of ours explains, others use the same limit: seconds to wait.
_PAUSE_S = 60.0


class Allowance:
    """Tokens that wait in batches, and how many may. Used by the lane's thread alone."""

    def __init__(self, keys: Iterable[APIKey]) -> None:
        self._groups = {key.name: key.group or key.name for key in keys}
        self._given = {key.name: key.enqueued_tokens for key in keys}
        self._enqueued: Counter[Account] = Counter()
        self._ever: Counter[str] = Counter()
        self._learned: dict[Account, float] = {}
        self._closed_until_s: dict[Account, float] = {}

    def choose(self, passes: Sequence[Lease], model: str, now_s: float) -> tuple[Lease, float]:
        """Return the key with the most room, and its room in tokens (perhaps none)."""
        rooms = [self._room(lease.key_name, model, now_s) for lease in passes]
        # Where there is no limit, the one with the least in its batches, now and before.
        now = [-self._enqueued[self._account(lease.key_name, model)] for lease in passes]
        ever = [-self._ever[lease.key_name] for lease in passes]
        best = max(range(len(passes)), key=lambda n: (rooms[n], now[n], ever[n]))
        return passes[best], rooms[best]

    def most(self, key_name: str, model: str) -> float:
        """Return the tokens that may wait at a time under a key, in the best case."""
        given = self._given.get(key_name)
        learned = self._learned.get(self._account(key_name, model), math.inf)
        return min(learned, math.inf if given is None else given)

    def enter(self, batch: BatchRecord) -> None:
        """Count a batch that waits."""
        self._ever[batch.key_name] += batch.tokens
        self._enqueued[self._account(batch.key_name, batch.model)] += batch.tokens

    def leave(self, batch: BatchRecord) -> None:
        """Count a batch no longer."""
        self._enqueued[self._account(batch.key_name, batch.model)] -= batch.tokens

    def refused(self, batch: BatchRecord, now_s: float) -> None:
        """Learn from a batch that was one too many; call it after `leave`."""
        account = self._account(batch.key_name, batch.model)
        others = self._enqueued[account]
        # Half of it may fit beside the others; half of a single line cannot be sent.
        half = batch.tokens / 2 if batch.lines > 1 or not others else 0.0
        self._learned[account] = max(1.0, others, half)
        if not others:
            self._closed_until_s[account] = now_s + (_PAUSE_S if batch.lines == 1 else 0.0)

    def _room(self, key_name: str, model: str, now_s: float) -> float:
        account = self._account(key_name, model)
        if self._closed_until_s.get(account, -math.inf) > now_s:
            return 0.0
        return max(0.0, self.most(key_name, model) - self._enqueued[account])

    def _account(self, key_name: str, model: str) -> Account:
        return self._groups.get(key_name, key_name), model
