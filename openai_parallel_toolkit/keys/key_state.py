"""What is known of one key and of one group of keys, and whether they may serve a request now.

Pure bookkeeping: the pool changes it, under the manager's lock.
"""

from __future__ import annotations

import math
from collections import Counter
from decimal import Decimal
from enum import Enum
from random import Random
from typing import NamedTuple

from ..core.clock import backoff_s
from ..core.records import KeyStatus, Need, Outcome, OutcomeKind, RateHints
from .bucket import RateLimits
from .config import APIKey
from .suspicion import Suspicions

_MAX_RETRY_AFTER_S = 600.0
_MAX_BACKOFF_S = 60.0


class BlockReason(Enum):
    """Why a key does not serve a request now; the value continues "2 of 3 keys ..."."""

    DROPPED = "are dropped"
    NOT_HERE = "do not have the model"
    REFUSED = "refused the request"
    COOLING = "cool down after a rate limit"
    WINDOW = "send fewer at a time after a rate limit"
    RATE = "are at a limit of requests or tokens per minute"
    FULL = "have as many requests in flight as they may"
    HALF_OPEN = "were dropped in an earlier run and are on trial"
    SUSPECT = "wait for one answer after a refusal without a reason"


class Block(NamedTuple):
    """What keeps a key from serving a request."""

    reason: BlockReason
    #: Clock time, seconds, when to look again; inf: after a change, not after a time.
    until_s: float = math.inf
    #: Whether it keeps the whole group back.
    is_group: bool = False
    #: Whether a smaller request might be served.
    by_size: bool = False


class Group:
    """Keys that share the limits of one organisation."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.in_flight = 0
        self.cool_until_s = -math.inf
        #: Requests that may be in flight; None: no limit was hit yet.
        self.window: float | None = None
        #: By model, as the replies' headers tell them.
        self.learned: dict[str, RateLimits] = {}
        self._limits_in_a_row = 0
        #: The newest lease when a limit was hit: older ones belong to the same wave.
        self._wave = -1

    def block(self, need: Need, now_s: float) -> Block | None:
        """Return what keeps every key of the group from serving `need`."""
        if self.cool_until_s > now_s:
            return Block(BlockReason.COOLING, self.cool_until_s, is_group=True)
        if self.window is not None and self.in_flight >= int(self.window):
            return Block(BlockReason.WINDOW, is_group=True)
        learned = self.learned.get(need.model)
        return _rate_block(learned, need, now_s, is_group=True) if learned else None

    def hit_limit(
        self,
        lease_id: int,
        newest_id: int,
        retry_after_s: float | None,
        now_s: float,
        random: Random,
    ) -> None:
        """Cool down. The answers to one wave of requests count as one hit."""
        is_new_wave = lease_id > self._wave
        if is_new_wave:
            self._wave = newest_id
            self._limits_in_a_row += 1
            self.window = float(max(1, self.in_flight // 2))
        if retry_after_s is not None and retry_after_s > 0:
            wait_s = min(retry_after_s, _MAX_RETRY_AFTER_S)
        elif is_new_wave:
            wait_s = backoff_s(
                self._limits_in_a_row, random.random(), base_s=1.0, cap_s=_MAX_BACKOFF_S
            )
        else:
            return
        self.cool_until_s = max(self.cool_until_s, now_s + wait_s)

    def answered(self, lease_id: int) -> None:
        """Widen the window a little; an answer to a request from after the wave ends the row."""
        if self.window is not None:
            self.window += 1 / self.window
        if lease_id > self._wave:
            self._limits_in_a_row = 0


class KeyState:
    """One key and how it stands."""

    def __init__(self, key: APIKey, group: Group, now_s: float, suspicions: Suspicions) -> None:
        self.key = key
        self.group = group
        self.in_flight = 0
        self._in_flight_by_model: Counter[str] = Counter()
        self._suspicions = suspicions
        #: Why it is never asked again; None: it is.
        self.dropped: str | None = None
        #: Why an earlier run dropped it: it gets one request at a time until one succeeds.
        self.half_open: str | None = None
        #: Why it does not have a model.
        self.not_here: dict[str, str] = {}
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
        if need.avoid == self.key.name:
            return Block(BlockReason.REFUSED)
        blocked = self.group.block(need, now_s)
        if blocked is not None:
            return blocked
        if self.half_open is not None and self.in_flight:
            return Block(BlockReason.HALF_OPEN)
        if self.in_flight and self._awaits_answer(need.model):
            return Block(BlockReason.SUSPECT)
        most = self.key.max_concurrent_requests
        if most is not None and self.in_flight >= most:
            return Block(BlockReason.FULL)
        return _rate_block(self.limits, need, now_s) if self.limits else None

    def _awaits_answer(self, model: str) -> bool:
        on_trial = self._suspicions.on_trial(self.key.name)
        return "" in on_trial or (model in on_trial and self._in_flight_by_model[model] > 0)

    def ready_s(self, need: Need, now_s: float) -> float:
        """Return when it may serve `need` if nothing changes; inf: not before something does."""
        while now_s < math.inf and (blocked := self.block(need, now_s)) is not None:
            now_s = blocked.until_s
        return now_s

    def can_ever_serve(self, model: str, avoid: str = "") -> bool:
        return self.dropped is None and model not in self.not_here and self.key.name != avoid

    def why_never(self, model: str) -> str:
        """Return why it can never serve a request for a model, for people."""
        if self.dropped is not None:
            return self.dropped
        told = self.not_here.get(model)
        return "refused the request" if told is None else f"does not have the model, {told}"

    def lend(self, need: Need, now_s: float) -> None:
        """Reserve what `need` asks for."""
        self.in_flight += 1
        self.group.in_flight += 1
        self._in_flight_by_model[need.model] += 1
        self._take(need.model, 1, need.tokens, now_s)

    def settle(self, need: Need, outcome: Outcome, cost_usd: Decimal | None, now_s: float) -> None:
        """Take back what was reserved for `need`, and count and learn from the outcome."""
        usage, hints = outcome.usage, outcome.hints
        self.in_flight -= 1
        self.group.in_flight -= 1
        self._in_flight_by_model[need.model] -= 1
        if outcome.kind.is_answer:
            self.half_open = None
        if outcome.kind is OutcomeKind.UNSENT:
            self._take(need.model, 0, -need.tokens, now_s)
        else:
            self.requests += 1
        if usage is not None:
            self._take(need.model, 0, usage.total_tokens - need.tokens, now_s)
            self.tokens += usage.total_tokens
            self.cost_usd += cost_usd or 0
        if hints is not None:
            self._learn(need.model, hints, now_s)

    def _take(self, model: str, requests: int, tokens: int, now_s: float) -> None:
        if self.limits is not None:
            self.limits.take(requests, tokens, now_s)
        learned = self.group.learned.get(model)
        if learned is not None:
            learned.take(requests, tokens, now_s)

    def _learn(self, model: str, hints: RateHints, now_s: float) -> None:
        """Learn the limits that the key's owner did not give."""
        if hints.limit_requests is None and hints.limit_tokens is None:
            return
        learned = self.group.learned.setdefault(model, RateLimits(None, None, now_s))
        learned.learn(hints, now_s, requests=self.key.rpm is None, tokens=self.key.tpm is None)

    def status(self, now_s: float) -> KeyStatus:
        """Return how the key stands, for people."""
        cools = self.group.cool_until_s > now_s and self.dropped is None
        state, reason = ("cooling", "rate limit") if cools else ("alive", "")
        if self.dropped is not None:
            state, reason = "dropped", self.dropped
        elif self.half_open is not None and not cools:
            state, reason = "on trial", self.half_open
        return KeyStatus(
            name=self.key.name,
            group=self.group.name,
            state=state,
            cooling_until_s=self.group.cool_until_s if cools else None,
            reason=reason,
            in_flight=self.in_flight,
            requests=self.requests,
            tokens=self.tokens,
            cost_usd=self.cost_usd,
        )


def _rate_block(
    limits: RateLimits, need: Need, now_s: float, *, is_group: bool = False
) -> Block | None:
    requests, tokens = limits.requests, limits.tokens
    requests_s = now_s if requests is None else requests.ready_s(1, now_s)
    tokens_s = now_s if tokens is None else tokens.ready_s(need.tokens, now_s)
    if requests_s <= now_s and tokens_s <= now_s:
        return None
    return Block(
        BlockReason.RATE,
        max(requests_s, tokens_s),
        is_group=is_group,
        by_size=tokens_s > requests_s,
    )
