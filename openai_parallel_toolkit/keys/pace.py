"""How fast a group of keys may be asked, and what keeps it from a request now. Pure bookkeeping.

Limits are of one model within a group, as most providers count them, unless a reply says more.
"""

from __future__ import annotations

import math
from collections import defaultdict
from enum import Enum
from random import Random
from typing import NamedTuple

from ..core.clock import backoff_s
from ..core.records import Need, Outcome, RateHints
from .bucket import RateLimits, TokenBucket
from .told_limits import ToldLimit, ToldLimits

#: Nothing that a server says stops a key longer without a trial.
LONGEST_STOP_S = 600.0
_MAX_BACKOFF_S = 60.0
#: Answers and seconds between two waves of limits, from which a pace can be told.
_FEWEST_ANSWERS = 10
_SHORTEST_S = 1.0
#: So many waves of limits, each this soon after the last, show that headers do not tell enough.
_FEWEST_WAVES = 3
_CLOSE_S = 5.0
#: A pace that was measured grows by this share a second for each second without a limit, ...
_GROWTH = 0.0005
#: ... and at most by this share a second; and one more wave takes away no more than this.
_FASTEST_GROWTH = 0.02
_LARGEST_CUT = 0.2
#: So many limits in a row, and the time that the run allows, make a key exhausted.
_FEWEST_LIMITS = 10


class BlockReason(Enum):
    """Why a key does not serve a request now; the value continues "2 of 3 keys ..."."""

    DROPPED = "are dropped"
    NOT_HERE = "do not have the model"
    OUTAGE = "wait for the next try of a server"
    EXHAUSTED = "answered nothing but limits for the model"
    REFUSED = "refused the request"
    TOO_SMALL = "have too small a limit for it"
    ALONE = "limit this request again and again while others pass"
    OVERLOADED = "send fewer at a time to a server that is overloaded"
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
    #: What the provider said, for people.
    words: str = ""


class ModelPace:
    """How fast a group may be asked for one model, or for all of them together."""

    __slots__ = (
        "_answers",
        "_close_waves",
        "_first_wave",
        "_limits_in_a_row",
        "_measured",
        "_wave",
        "_wave_s",
        "answers_tell",
        "cool_until_s",
        "in_flight",
        "learned",
        "lent_s",
        "limited_since_s",
        "was_limited",
        "window",
        "words",
    )

    def __init__(self) -> None:
        self.in_flight = 0
        self.was_limited = False
        self.cool_until_s = -math.inf
        #: Requests that may be in flight; None: no limit was hit yet; inf: the pace is known.
        self.window: float | None = None
        #: As the replies' headers tell them; None: they tell nothing.
        self.learned: ToldLimits | None = None
        #: Whether answers tell limits, not refusals alone; None: there was none yet.
        self.answers_tell: bool | None = None
        #: Clock time, seconds, of the last lease.
        self.lent_s = -math.inf
        #: Since when there were only limits, without a time to wait for; None: there are others.
        self.limited_since_s: float | None = None
        #: What the provider said of the last limit.
        self.words = ""
        self._limits_in_a_row = 0
        #: What came through between limits, where no header tells; None: not known yet.
        self._measured: TokenBucket | None = None
        #: Answers since the last wave of limits, and when that was, clock time, seconds.
        self._answers = 0
        self._wave_s = math.nan
        self._close_waves = 0
        #: The newest lease at the first of them: answers to older ones tell of no pace; 0: none.
        self._first_wave = 0
        #: The newest lease when a limit was hit: older ones belong to the same wave.
        self._wave = -1

    def block(self, need: Need, now_s: float) -> Block | None:
        """Return what keeps it from `need` now; None: nothing does."""
        if self.cool_until_s > now_s:
            return Block(BlockReason.COOLING, self.cool_until_s, is_group=True, words=self.words)
        if self.window is not None and self.in_flight + 1 > self.window:
            return Block(BlockReason.WINDOW, is_group=True, words=self.words)
        if self._measured is not None and (ready_s := self._measured.ready_s(1, now_s)) > now_s:
            return Block(BlockReason.RATE, ready_s, is_group=True)
        blocked = rate_block(self.learned, need, now_s, is_group=True) if self.learned else None
        if blocked is None or blocked.until_s <= self.lent_s + LONGEST_STOP_S:
            return blocked
        trial_s = self.lent_s + LONGEST_STOP_S
        return blocked._replace(until_s=trial_s) if trial_s > now_s else None

    def hit_limit(
        self, lease_id: int, newest_id: int, outcome: Outcome, now_s: float, random: Random
    ) -> None:
        """Cool down. The answers to one wave of requests count as one hit."""
        is_new_wave, told_s = lease_id > self._wave, outcome.retry_after_s or 0.0
        self.words, self.was_limited = outcome.message, True
        if is_new_wave:
            self._wave = newest_id
            self._limits_in_a_row += 1
            self._first_wave = self._first_wave or newest_id
            self._slow_down(
                now_s, is_told=self.answers_tell is not False and is_told(outcome.hints)
            )
        if told_s > 0:
            wait_s = min(told_s, LONGEST_STOP_S)
            self.window = 1.0 if told_s > LONGEST_STOP_S else self.window  # a trial
        elif is_new_wave:
            wait_s = backoff_s(
                self._limits_in_a_row, random.random(), base_s=1.0, cap_s=_MAX_BACKOFF_S
            )
        else:
            return
        self.cool_until_s = max(self.cool_until_s, now_s + wait_s)
        if told_s > 0 or self.limited_since_s is None:
            self.limited_since_s = None if told_s > 0 else now_s

    def _slow_down(self, now_s: float, *, is_told: bool) -> None:
        """Go as fast as answers came since the last wave; until that is known, half as many.

        Headers that tell when to send again are believed, until limits come again and again.
        """
        passed_s = now_s - self._wave_s
        self._close_waves = self._close_waves + 1 if passed_s < _CLOSE_S else 1
        if is_told and self._measured is None and self._close_waves < _FEWEST_WAVES:
            pass
        elif self._answers >= _FEWEST_ANSWERS and passed_s >= _SHORTEST_S:
            rate_per_s = self._answers / passed_s
            if self._measured is not None:
                rate_per_s = max(rate_per_s, (1 - _LARGEST_CUT) * self._measured.rate_per_s)
            self._measured = TokenBucket(60 * rate_per_s, now_s, capacity=max(1.0, rate_per_s))
            self._measured.take(self._measured.capacity, now_s)
            self.window = math.inf
        elif self._measured is not None:
            self._measured.rate_per_s *= 1 - _LARGEST_CUT / 2
        else:
            self.window = float(max(1, self.in_flight // 2))
        self._answers, self._wave_s = 0, now_s

    def lend(self, tokens: int, now_s: float) -> None:
        """Take note of one more request."""
        self.in_flight += 1
        if self.learned is not None:
            self.learned.take(1, tokens, now_s)
        if self._measured is not None:
            growth = min(_FASTEST_GROWTH, _GROWTH * max(0.0, now_s - self._wave_s))
            self._measured.rate_per_s *= 1 + growth * min(1.0, max(0.0, now_s - self.lent_s))
            self._measured.take(1, now_s)
        self.lent_s = now_s

    def answered(self, lease_id: int, *, tells: bool) -> None:
        """Widen the window a little; an answer to a request from after the wave ends the row.

        What refusals alone tell holds until then at the longest: nothing would ever correct it.
        """
        if not self.answers_tell:
            self.answers_tell = tells
        self.limited_since_s = None
        if self.window is not None:
            self.window += 1 / self.window
        if lease_id > self._wave:
            self._limits_in_a_row = 0
            if not self.answers_tell:
                self.learned = None
        if lease_id > self._first_wave:
            self._answers += 1

    def limited_for_s(self, now_s: float) -> float:
        """Return for how long there were only limits; 0: too few to tell."""
        if self.limited_since_s is None or self._limits_in_a_row < _FEWEST_LIMITS:
            return 0.0
        return now_s - self.limited_since_s


class Group:
    """Keys that share the limits of one organisation."""

    def __init__(self, name: str) -> None:
        self.name = name
        #: Of limits that are of all models.
        self.whole = ModelPace()
        #: By model.
        self.paces: defaultdict[str, ModelPace] = defaultdict(ModelPace)

    @property
    def cool_until_s(self) -> float:
        """Clock time, seconds, before which none of the models that were asked may be."""
        models = (pace.cool_until_s for pace in self.paces.values())
        return max(self.whole.cool_until_s, min(models, default=-math.inf))

    def block(self, need: Need, now_s: float) -> Block | None:
        """Return what keeps every key of the group from serving `need`."""
        if self.whole.was_limited and (blocked := self.whole.block(need, now_s)):
            return blocked
        return self.paces[need.model].block(need, now_s)

    def lend(self, need: Need, now_s: float) -> None:
        self.paces[need.model].lend(need.tokens, now_s)
        if self.whole.was_limited:
            self.whole.lend(need.tokens, now_s)
        else:
            self.whole.in_flight += 1

    def settle(self, need: Need, excess_tokens: int, now_s: float) -> None:
        """Take back what was lent; `excess_tokens` came beside what was set aside."""
        pace = self.paces[need.model]
        pace.in_flight -= 1
        self.whole.in_flight -= 1
        if excess_tokens and pace.learned is not None:
            pace.learned.take(0, excess_tokens, now_s)

    def learn(
        self, model: str, hints: RateHints, now_s: float, *, requests: bool, tokens: bool
    ) -> None:
        """Learn `requests` and `tokens` per minute from a reply's headers."""
        pace = self.paces[model]
        if pace.answers_tell is False:
            return
        if pace.learned is None:
            pace.learned = ToldLimits()
        pace.learned.learn(hints, now_s, requests=requests, tokens=tokens)

    def answered(self, need: Need, lease_id: int, *, tells: bool) -> None:
        """Take note of an answer; `tells`: its headers tell limits."""
        if self.whole.was_limited:
            self.whole.answered(lease_id, tells=tells)
        self.paces[need.model].answered(lease_id, tells=tells)

    def is_exceeded(self, need: Need, outcome: Outcome) -> bool:
        """Return whether the limit that refused `need` is one that it exceeds at any time."""
        if outcome.is_too_large is not None:
            return outcome.is_too_large
        learned, hints = self.paces[need.model].learned, outcome.hints
        limit = outcome.token_limit or (hints and hints.limit_tokens)
        if not limit and learned is not None and learned.tokens is not None:
            limit = learned.tokens.limit
        return bool(limit and need.least_tokens > limit)

    def answers_others(self, model: str) -> bool:
        """Return whether another model than this one is not limited all the time."""
        return any(
            pace.limited_since_s is None for name, pace in self.paces.items() if name != model
        )


def is_told(hints: RateHints | None) -> bool:
    """Return whether headers tell that nothing is left, and so when to send again."""
    return hints is not None and 0 in (hints.remaining_requests, hints.remaining_tokens)


def rate_block(
    limits: RateLimits, need: Need, now_s: float, *, is_group: bool = False
) -> Block | None:
    """Return what keeps requests or tokens per minute from serving `need` now.

    What is known to be larger than a limit that was learned goes first: the provider refuses it.
    """
    requests, tokens = limits.requests, limits.tokens
    requests_s = now_s if requests is None else requests.ready_s(1, now_s)
    tokens_s = now_s if tokens is None else tokens.ready_s(need.tokens, now_s)
    if tokens_s > now_s and isinstance(tokens, ToldLimit) and need.least_tokens > tokens.limit:
        tokens_s = now_s
    if requests_s <= now_s and tokens_s <= now_s:
        return None
    return Block(
        BlockReason.RATE,
        max(requests_s, tokens_s),
        is_group=is_group,
        by_size=tokens_s > requests_s,
    )
