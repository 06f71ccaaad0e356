"""What is known of one key, and whether it may serve a request now.

Pure bookkeeping: the pool changes it, under the manager's lock.
"""

from __future__ import annotations

import math
from collections import Counter
from decimal import Decimal

from ..core.records import KeyStatus, Need, Outcome, OutcomeKind
from .bucket import RateLimits
from .circuit import Circuit
from .config import APIKey
from .pace import Block, BlockReason, Group, rate_block
from .suspicion import Suspicions


class KeyState:
    """One key and how it stands."""

    def __init__(
        self, key: APIKey, group: Group, circuit: Circuit, suspicions: Suspicions, now_s: float
    ) -> None:
        self.key = key
        self.group = group
        self.circuit = circuit
        self.in_flight = 0
        self._in_flight_by_model: Counter[str] = Counter()
        self._suspicions = suspicions
        #: Why it is never asked again; None: it is.
        self.dropped: str | None = None
        #: Why an earlier run dropped it: it gets one request at a time until one succeeds.
        self.half_open: str | None = None
        #: Why it does not have a model.
        self.not_here: dict[str, str] = {}
        #: Why it is not asked for a model any more that it has.
        self.exhausted: dict[str, str] = {}
        self.limits = RateLimits(key.rpm, key.tpm, now_s) if key.rpm or key.tpm else None
        self.requests = 0
        self.tokens = 0
        self.cost_usd = Decimal(0)

    def block(self, need: Need, now_s: float) -> Block | None:
        """Return what keeps the key from serving `need` now; None: nothing does."""
        if self.dropped is not None:
            return Block(BlockReason.DROPPED)
        if self.not_here and need.model in self.not_here:
            return Block(BlockReason.NOT_HERE)
        if self.exhausted and need.model in self.exhausted:
            return Block(BlockReason.EXHAUSTED)
        if need.avoid and need.avoid == self.key.name:
            return Block(BlockReason.REFUSED)
        if self.circuit.is_open and (until_s := self.circuit.blocked_until_s(now_s)) is not None:
            return Block(BlockReason.OUTAGE, until_s)
        if (until_s := self.circuit.crowded_until_s(now_s)) is not None:
            return Block(BlockReason.OVERLOADED, until_s)
        if need.not_before_s > now_s:
            return Block(BlockReason.ALONE, need.not_before_s)
        if (need.too_large_for or self.limits) and not self._has_room(need):
            return Block(BlockReason.TOO_SMALL, by_size=True)
        blocked = self.group.block(need, now_s)
        if blocked is not None:
            return blocked
        if self.half_open is not None and self.in_flight:
            return Block(BlockReason.HALF_OPEN)
        if self.in_flight and self._suspicions.open and self._awaits_answer(need.model):
            return Block(BlockReason.SUSPECT)
        most = self.key.max_concurrent_requests
        if most is not None and self.in_flight >= most:
            return Block(BlockReason.FULL)
        return rate_block(self.limits, need, now_s) if self.limits else None

    def _awaits_answer(self, model: str) -> bool:
        on_trial = self._suspicions.on_trial(self.key.name)
        return "" in on_trial or (model in on_trial and self._in_flight_by_model[model] > 0)

    def ready_s(self, need: Need, now_s: float) -> float:
        """Return when it may serve `need` if nothing changes; inf: not before something does."""
        while now_s < math.inf and (blocked := self.block(need, now_s)) is not None:
            now_s = blocked.until_s
        return now_s

    def can_ever_serve(self, need: Need) -> bool:
        gone = (
            self.dropped is not None or need.model in self.not_here or need.avoid == self.key.name
        )
        return not gone and need.model not in self.exhausted and self._has_room(need)

    def why_never(self, model: str) -> str:
        """Return why it can never serve a request for a model, for people."""
        if self.dropped is not None:
            return self.dropped
        if model in self.exhausted:
            return self.exhausted[model]
        told = self.not_here.get(model)
        return "refused the request" if told is None else f"does not have the model, {told}"

    def _has_room(self, need: Need) -> bool:
        """Return whether its limit of tokens is not too small for `need` at any time."""
        tpm = self.key.tpm
        is_refused = need.too_large_for and self.group.name in need.too_large_for
        return not is_refused and (tpm is None or need.least_tokens <= tpm)

    def lend(self, need: Need, now_s: float) -> None:
        """Reserve what `need` asks for."""
        self.in_flight += 1
        self._in_flight_by_model[need.model] += 1
        self.group.lend(need, now_s)
        if self.limits is not None:
            self.limits.take(1, need.tokens, now_s)

    def settle(self, need: Need, outcome: Outcome, cost_usd: Decimal | None, now_s: float) -> None:
        """Take back what was reserved for `need`, and count and learn from the outcome."""
        usage, kind, hints = outcome.usage, outcome.kind, outcome.hints
        self.in_flight -= 1
        self._in_flight_by_model[need.model] -= 1
        if self.half_open is not None and kind.is_answer:
            self.half_open = None
        if kind is not OutcomeKind.UNSENT:
            self.requests += 1
        excess = 0
        if usage is not None:
            tokens = usage.total_tokens
            excess = tokens - need.tokens
            self.tokens += tokens
            if cost_usd is not None:
                self.cost_usd += cost_usd
        elif not kind.may_be_billed:
            excess = -need.tokens
        if excess and self.limits is not None:
            self.limits.take(0, excess, now_s)
        self.group.settle(need, excess, now_s)
        if hints is not None:
            # Only the limits that the key's owner did not give.
            requests, tokens = self.key.rpm is None, self.key.tpm is None
            self.group.learn(need.model, hints, now_s, requests=requests, tokens=tokens)

    def status(self, now_s: float) -> KeyStatus:
        """Return how the key stands, for people."""
        cool_until_s = self.group.cool_until_s
        cools = cool_until_s > now_s and self.dropped is None
        state, reason = ("cooling", "rate limit") if cools else ("alive", "")
        if self.dropped is not None:
            state, reason = "dropped", self.dropped
        elif self.half_open is not None and not cools:
            state, reason = "on trial", self.half_open
        return KeyStatus(
            name=self.key.name,
            group=self.group.name,
            state=state,
            cooling_until_s=cool_until_s if cools else None,
            reason=reason,
            in_flight=self.in_flight,
            requests=self.requests,
            tokens=self.tokens,
            cost_usd=self.cost_usd,
        )
