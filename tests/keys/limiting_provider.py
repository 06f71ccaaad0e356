"""Providers that limit, played without a wire or a clock: events in the order of their times."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from openai_parallel_toolkit.core.records import (
    Lease,
    Need,
    Outcome,
    OutcomeKind,
    RateHints,
    Usage,
)
from openai_parallel_toolkit.core.redaction import Secret
from openai_parallel_toolkit.keys.config import APIKey
from openai_parallel_toolkit.keys.model_queue import LeaseRequest
from openai_parallel_toolkit.keys.pool import Pool


class Refilling:
    """A limit that refills evenly."""

    def __init__(self, limit: int, period_s: float = 60.0, burst: float | None = None) -> None:
        self.limit, self.period_s = limit, period_s
        self._burst = limit if burst is None else burst
        self._level, self._at_s = float(self._burst), 0.0

    def left(self, now_s: float) -> float:
        grown = (now_s - self._at_s) * self.limit / self.period_s
        self._level, self._at_s = min(self._burst, self._level + grown), now_s
        return self._level

    def reset_s(self, now_s: float) -> float:
        return (self._burst - self.left(now_s)) * self.period_s / self.limit

    def wait_s(self, amount: float, now_s: float) -> float:
        return max(0.0, amount - self.left(now_s)) * self.period_s / self.limit

    def take(self, amount: float, now_s: float) -> None:
        self._level = self.left(now_s) - amount

    def allows(self, until_s: float) -> float:
        return self._burst + until_s * self.limit / self.period_s


class FixedWindow:
    """A limit that is whole again each time a window ends."""

    def __init__(self, limit: int, period_s: float = 60.0, phase_s: float = 0.0) -> None:
        self.limit, self.period_s, self._phase_s = limit, period_s, phase_s
        self._window, self._used = -1, 0.0

    def left(self, now_s: float) -> float:
        window = int((now_s + self._phase_s) // self.period_s)
        if window != self._window:
            self._window, self._used = window, 0.0
        return self.limit - self._used

    def reset_s(self, now_s: float) -> float:
        return self.period_s - (now_s + self._phase_s) % self.period_s

    def wait_s(self, amount: float, now_s: float) -> float:
        return 0.0 if self.left(now_s) >= amount else self.reset_s(now_s)

    def take(self, amount: float, now_s: float) -> None:
        self._used = self.limit - self.left(now_s) + amount

    def allows(self, until_s: float) -> float:
        windows = (until_s + self._phase_s) // self.period_s - self._phase_s // self.period_s
        return (windows + 1) * self.limit


Limit = Refilling | FixedWindow


@dataclass
class Provider:
    """A server and how it tells its limits."""

    requests: Limit | None = None
    tokens: Limit | None = None
    #: "exact", "seconds" (rounded up), or "" for no headers; and of Retry-After.
    headers: str = "exact"
    #: Whether answers have headers too, not refusals alone.
    answers_tell: bool = True
    retry_after: str = "seconds"
    latency_s: Callable[[Random], float] = lambda random: random.uniform(0.1, 0.3)
    #: Tokens that an answer is counted with, when asked; None: those the client expects.
    charged: Callable[[Need], int] | None = None
    #: The code with which it refuses everything, its key being no good; "": it is good.
    refuses: str = ""
    #: So many requests at a time are worked on; others are refused as overloaded.
    capacity: float = math.inf
    #: Share of the requests that are refused so at any time.
    flaky: float = 0.0
    refused: int = 0
    overloaded: int = 0
    answered: int = 0
    limited: int = 0
    #: Until when it works on what.
    _busy: list[float] = field(default_factory=list)

    def ask(self, need: Need, now_s: float, random: Random) -> tuple[float, Outcome]:
        """Return how long a reply takes, and what it is."""
        if self.refuses:
            self.refused += 1
            return 0.05, Outcome(kind=OutcomeKind.KEY_DEAD, status=401, code=self.refuses)
        self._busy = [until_s for until_s in self._busy if until_s > now_s]
        if len(self._busy) >= self.capacity or (self.flaky and random.random() < self.flaky):
            self.overloaded += 1
            return 0.005, Outcome(kind=OutcomeKind.BUSY, status=503, code="overloaded")
        tokens = self.charged(need) if self.charged is not None else need.tokens
        pairs = [(self.requests, 1), (self.tokens, tokens)]
        waits = [limit.wait_s(amount, now_s) for limit, amount in pairs if limit is not None]
        wait_s = max(waits, default=0.0)
        if wait_s > 1e-9:
            self.limited += 1
            return 0.05, Outcome(
                kind=OutcomeKind.BUSY,
                status=429,
                retry_after_s=self._told(self.retry_after, wait_s),
                is_limit=True,
                hints=self._hints(now_s),
            )
        for limit, amount in pairs:
            if limit is not None:
                limit.take(amount, now_s)
        self.answered += 1
        usage = Usage(prompt_tokens=tokens, completion_tokens=0)
        hints = self._hints(now_s) if self.answers_tell else None
        outcome = Outcome(kind=OutcomeKind.OK, status=200, usage=usage, hints=hints)
        took_s = self.latency_s(random)
        self._busy.append(now_s + took_s)
        return took_s, outcome

    def _told(self, form: str, seconds: float) -> float | None:
        if not form:
            return None
        return float(math.ceil(seconds)) if form == "seconds" else math.ceil(seconds * 1e3) / 1e3

    def _hints(self, now_s: float) -> RateHints | None:
        if not self.headers:
            return None
        told: dict[str, float | None] = {}
        for unit, limit in (("requests", self.requests), ("tokens", self.tokens)):
            if limit is not None:
                told[f"limit_{unit}"] = limit.limit
                told[f"remaining_{unit}"] = max(0, int(limit.left(now_s)))
                told[f"reset_{unit}_s"] = self._told(self.headers, limit.reset_s(now_s))
        return RateHints(**told)  # type: ignore[arg-type]


@dataclass
class Ran:
    """What became of a number of calls."""

    took_s: float
    answered: int
    limited: int
    #: Answers by second.
    pace: list[int] = field(default_factory=list)

    @property
    def share_limited(self) -> float:
        return self.limited / max(1, self.answered + self.limited)


def run_calls(
    providers: list[Provider],
    calls: int,
    *,
    at_once: int,
    tokens: Callable[[Random], int] = lambda random: 100,
    seed: int = 0,
    events: dict[float, Callable[[], None]] | None = None,
    until_s: float = math.inf,
) -> Ran:
    """Make calls through the pool, `at_once` at a time, with a key for each provider."""
    random, now_s, numbers = Random(seed), 0.0, itertools.count()
    pool = Pool("https://example.com/v1", Random(seed))
    for number in range(len(providers)):
        pool.add(APIKey(secret=Secret(f"sk-{number:020}"), name=f"key-{number}"), now_s)
    heap: list[tuple[float, int, str, object]] = []
    for at_s, event in (events or {}).items():
        heapq.heappush(heap, (at_s, next(numbers), "event", event))
    left, ended = calls, 0
    answered_at: list[float] = []

    def ask() -> None:
        request = LeaseRequest(
            Need(model="m", tokens=tokens(random)), lambda: None, lambda *_: None
        )
        served = pool.queues.ask(request, now_s)
        for one in (*served, request):
            if one.lease is not None:
                send(one.lease)

    sent: set[int] = set()

    def send(lease: Lease) -> None:
        if lease.id in sent:
            return
        sent.add(lease.id)
        provider = providers[int(lease.key_name[4:])]
        way_s = random.uniform(0.005, 0.02)
        heapq.heappush(heap, (now_s + way_s, next(numbers), "arrive", (provider, lease)))

    for _ in range(min(at_once, calls)):
        left -= 1
        ask()
    while ended < calls and now_s < until_s:
        next_s = pool.queues.next_s()
        if not heap or next_s < heap[0][0]:
            assert next_s < math.inf, "everything waits for ever"
            now_s = max(now_s, next_s) + 0.0005
            for one in pool.queues.advance(now_s):
                if one.lease is not None:
                    send(one.lease)
            continue
        now_s, _, what, whom = heapq.heappop(heap)
        if what == "event":
            whom()  # type: ignore[operator]
        elif what == "arrive":
            provider, lease = whom  # type: ignore[misc]
            delay_s, outcome = provider.ask(lease.need, now_s, random)
            heapq.heappush(heap, (now_s + delay_s, next(numbers), "reply", (lease, outcome)))
        else:
            lease, outcome = whom  # type: ignore[misc]
            settled = pool.settle(lease, outcome, None, now_s)
            assert settled is not None
            for one in settled.requests:
                if one.lease is not None:
                    send(one.lease)
            if outcome.kind is OutcomeKind.OK:
                ended += 1
                answered_at.append(now_s)
                if left:
                    left -= 1
                    ask()
            else:
                ask()
    pace = [0] * (int(now_s) + 1)
    for at_s in answered_at:
        pace[int(at_s)] += 1
    return Ran(
        took_s=now_s,
        answered=sum(one.answered for one in providers),
        limited=sum(one.limited for one in providers),
        pace=pace,
    )
