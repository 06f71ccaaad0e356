"""Hold requests back from a server that fails everyone: a circuit breaker for each address. Pure.

Closed, every request passes. Failures of different requests in a row, with no answer between, open
it: then one request at a time passes as a probe, after pauses that grow, and the first probe that
is answered closes it. A request that began before the trouble says nothing of it when it is
answered, and one that began after its first failure and is still out speaks for the server. A
request that failed while others were answered is its own trouble from then on, and no sign of any.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from urllib.parse import urlsplit

from ..core.clock import backoff_s
from ..core.records import Lease, Outcome, OutcomeKind
from ..core.text import duration
from .concurrency import ConcurrencyLimit, is_overload

#: Different requests that must fail before the server is at fault and none of them.
_FAILURES = 5
#: Attempts that must find no server: that is never the fault of a request.
_UNREACHED = 3
#: How far those attempts came, and those that a server cut off before any reply.
_UNREACHED_PHASES = frozenset({"dns", "connect", "tls", "proxy"})
_CUT_OFF_PHASES = frozenset({"write", "read"})
_MOST_ODD = 10_000
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 10.0
#: The longest that a server's Retry-After puts a probe off.
_LONGEST_RETRY_AFTER_S = 60.0
#: How long a probe is waited for before another one goes out.
_PROBE_S = 30.0
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A server that fails everyone."""

    address: str
    lasted_s: float
    #: How the last request failed.
    failure: Outcome

    @property
    def reason(self) -> str:
        """How the last request failed, for people."""
        told = (self.failure.message or self.failure.code)[:200]
        return f"{self.failure.status}: {told}" if self.failure.status else told

    def __str__(self) -> str:
        is_unreached = self.failure.kind is OutcomeKind.UNSENT
        what = "could not be reached" if is_unreached else "has failed every request"
        return f"{self.address} {what} for {duration(self.lasted_s)} ({self.reason})"


class Circuit:
    """How one server stands: whether it is down, since when and when it is tried next."""

    def __init__(self, address: str, random: Random) -> None:
        self.address = address
        #: Clock time, seconds, of the first failure in a row; None: the last request was answered.
        self.since_s: float | None = None
        self.is_open = False
        #: Requests that are out, and how many may be; whoever lends and settles counts them.
        self.in_flight = 0
        self.limit = ConcurrencyLimit()
        #: How the last request failed.
        self.failure = Outcome(kind=OutcomeKind.OK)
        self._random = random
        #: Clock time, seconds, of the next probe.
        self._next_s = -math.inf
        self._failed_probes = 0
        #: What failed in a row: requests, by their hashes; and leases, by their ids, under which no
        #: server was found, or whose request is not known.
        self._failed: set[str | int] = set()
        #: Requests that failed while others were answered, by their hashes.
        self._odd: set[str | int] = set()
        #: Clock time, seconds, of the last answer since the first failure.
        self._answered_s = -math.inf
        #: Leases that are out and were given since the first failure, or since it opened.
        self._fresh: set[int] = set()

    @property
    def is_well(self) -> bool:
        """Whether nothing needs to be noted of requests that are answered."""
        return self.since_s is None and self.limit.most == math.inf

    def blocked_until_s(self, now_s: float) -> float | None:
        """Return when the next request may pass, clock time, seconds; None: now."""
        return self._next_s if self.is_open and self._next_s > now_s else None

    def crowded_until_s(self, now_s: float) -> float | None:
        """Return when one more may be in flight, clock time, seconds; None: now."""
        if self.in_flight < self.limit.most:
            return None
        return self.limit.blocked_until_s(self.in_flight, now_s)

    def lent(self, lease: Lease) -> None:
        """Take note of a request that passes: when open, it is a probe."""
        self.limit.lent(self.in_flight, lease.since_s)
        if self.since_s is None:
            return
        self._fresh.add(lease.id)
        if self.is_open:
            self._next_s = lease.since_s + _PROBE_S

    def ended(self, lease: Lease, newest_id: int, outcome: Outcome, now_s: float) -> bool:
        """Take in how a request ended; return whether it opened, closed or may be probed anew.

        `newest_id` is that of the last lease of any.
        """
        self.limit.ended(lease.id, newest_id, outcome, self.in_flight, now_s)
        if self.since_s is None and outcome.kind.is_answer:
            return False
        is_fresh = lease.id in self._fresh
        self._fresh.discard(lease.id)
        if _is_failure(outcome):
            return self._fail(lease, outcome, now_s, is_fresh=is_fresh)
        if outcome.kind.is_answer:
            self._answered_s = now_s
        if not is_fresh:
            return False
        was_open = self.is_open
        if outcome.status is not None or outcome.code == "body":
            if not was_open and len(self._odd) < _MOST_ODD:
                self._odd |= self._failed
            self.is_open, self.since_s, self._failed_probes = False, None, 0
            self._failed, self._fresh = set(), set()
        else:  # it was not sent after all, or took too long
            self._next_s = now_s
        return was_open

    def is_blamed(self, outcome: Outcome) -> bool:
        """Return whether it was the server that failed, and not the request or its key."""
        return self.is_open and _is_failure(outcome)

    def outage(self, now_s: float) -> Outage | None:
        """Return how long it has been down; None: it is not."""
        if not self.is_open or self.since_s is None:
            return None
        return Outage(
            address=self.address, lasted_s=max(0.0, now_s - self.since_s), failure=self.failure
        )

    def _fail(self, lease: Lease, outcome: Outcome, now_s: float, *, is_fresh: bool) -> bool:
        if self.is_open and not is_fresh:
            return False
        self.failure = outcome
        if self.is_open:
            self._failed_probes += 1
        elif lease.need.request_hash in self._odd:
            return False
        else:
            if self.since_s is None:
                self.since_s = now_s
            is_unsent = outcome.kind is OutcomeKind.UNSENT
            self._failed.add(lease.id if is_unsent else lease.need.request_hash or lease.id)
            wanted = _UNREACHED if is_unsent else _FAILURES
            if len(self._failed) < max(wanted, len(self._fresh) + 1):
                return False
            if is_overload(outcome) and self.in_flight and self._serves(now_s):
                return False
            self.is_open, self._fresh = True, set()
            self.limit = ConcurrencyLimit()
        pause_s = backoff_s(
            self._failed_probes + 1,
            0.5 + self._random.random() / 2,
            base_s=_FIRST_PAUSE_S,
            cap_s=_LONGEST_PAUSE_S,
        )
        told_s = min(outcome.retry_after_s or 0.0, _LONGEST_RETRY_AFTER_S)
        self._next_s = now_s + max(pause_s, told_s)
        return True

    def _serves(self, now_s: float) -> bool:
        """Return whether the requests that are out may still be answered."""
        return self.since_s is None or now_s - max(self.since_s, self._answered_s) < _PROBE_S


def address_of(api_base: str) -> str:
    """Return scheme, host and port of a URL, which keys at one server share."""
    try:
        parts = urlsplit(api_base)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return api_base  # no request ever leaves for it
    return f"{parts.scheme}://{parts.hostname}" + (f":{port}" if port else "")


def _is_failure(outcome: Outcome) -> bool:
    """Return whether the server failed, whatever it was asked."""
    if outcome.kind is OutcomeKind.UNSENT:
        return outcome.code in _UNREACHED_PHASES
    if outcome.kind is OutcomeKind.UNKNOWN:
        return outcome.code in _CUT_OFF_PHASES if outcome.status is None else outcome.status >= 500
    return outcome.kind is OutcomeKind.BUSY and not outcome.is_limit
