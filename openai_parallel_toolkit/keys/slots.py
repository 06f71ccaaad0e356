"""What is known of one key and of one group of keys, and whether they may serve a request now.

Pure bookkeeping: the pool changes it, under the manager's lock.
"""

from __future__ import annotations

import math
from decimal import Decimal
from enum import Enum
from random import Random
from typing import NamedTuple

from ..core.backoff import backoff_s
from ..core.records import KeyStatus, Need
from .bucket import LearnedLimits, TokenBucket
from .config import APIKey

_MAX_RETRY_AFTER_S = 600.0
_MAX_BACKOFF_S = 60.0


class BlockReason(Enum):
    """Why a key does not serve a request now; the value continues "2 of 3 keys ..."."""

    DROPPED = "are dropped"
    NOT_HERE = "do not have the model"
    COOLING = "cool down after a rate limit"
    WINDOW = "send fewer at a time after a rate limit"
    RATE = "are at a limit of requests or tokens per minute"
    FULL = "have as many requests in flight as they may"
    TRIAL = "were dropped in an earlier run and are on trial"


class Block(NamedTuple):
    """What keeps a key from serving a request."""

    why: BlockReason
    #: Clock time, seconds, when to look again; None: after a change, not after a time.
    until_s: float | None = None
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
        self.learned: dict[str, LearnedLimits] = {}
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
        if learned is None:
            return None
        return _limit_block(learned.requests, learned.tokens, need, now_s, is_group=True)

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

    def __init__(self, key: APIKey, group: Group, now_s: float) -> None:
        self.key = key
        self.group = group
        #: Number of its last lease: the smallest has rested longest.
        self.order = 0
        self.in_flight = 0
        self.dropped: str | None = None
        self.trial: str | None = None
        self.not_here: set[str] = set()
        self.requests_limit = TokenBucket(key.rpm, now_s) if key.rpm else None
        self.tokens_limit = TokenBucket(key.tpm, now_s) if key.tpm else None
        self.requests = 0
        self.tokens = 0
        self.cost_usd = Decimal(0)

    def block(self, need: Need, now_s: float) -> Block | None:
        """Return what keeps the key from serving `need` now; None: nothing does."""
        if self.dropped is not None:
            return Block(BlockReason.DROPPED)
        if self.not_here and need.model in self.not_here:
            return Block(BlockReason.NOT_HERE)
        blocked = self.group.block(need, now_s)
        if blocked is not None:
            return blocked
        if self.trial is not None and self.in_flight:
            return Block(BlockReason.TRIAL)
        room = self.key.max_concurrent_requests
        if room is not None and self.in_flight >= room:
            return Block(BlockReason.FULL)
        if self.requests_limit is None and self.tokens_limit is None:
            return None
        return _limit_block(self.requests_limit, self.tokens_limit, need, now_s, is_group=False)

    def ready_s(self, need: Need, now_s: float) -> float | None:
        """Return when it may serve `need` if nothing changes; None: not before something does."""
        while (blocked := self.block(need, now_s)) is not None:
            if blocked.until_s is None:
                return None
            now_s = blocked.until_s
        return now_s

    def can_ever_serve(self, model: str) -> bool:
        return self.dropped is None and model not in self.not_here

    def why_never(self) -> str:
        """Return why it can never serve the model asked for."""
        return "does not have the model" if self.dropped is None else self.dropped

    def take(self, need: Need, lease_id: int, now_s: float) -> None:
        """Set aside what `need` asks for."""
        self.order = lease_id
        self.in_flight += 1
        self.group.in_flight += 1
        learned = self.group.learned.get(need.model)
        for bucket in (self.requests_limit, learned.requests if learned else None):
            if bucket is not None:
                bucket.take(1, now_s)
        self.take_tokens(need.model, need.tokens, now_s)

    def take_tokens(self, model: str, tokens: int, now_s: float) -> None:
        """Take tokens from the limits that hold for `model`; negative gives back."""
        learned = self.group.learned.get(model)
        for bucket in (self.tokens_limit, learned.tokens if learned else None):
            if bucket is not None:
                bucket.take(tokens, now_s)

    def status(self, now_s: float) -> KeyStatus:
        """Return how the key stands, for people."""
        cools = self.group.cool_until_s > now_s and self.dropped is None
        state = "cooling" if cools else "alive"
        reason = "rate limit" if cools else ""
        if self.dropped is not None:
            state, reason = "dropped", self.dropped
        elif self.trial is not None and not cools:
            state, reason = "on trial", self.trial
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


def _limit_block(
    requests: TokenBucket | None,
    tokens: TokenBucket | None,
    need: Need,
    now_s: float,
    *,
    is_group: bool,
) -> Block | None:
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
