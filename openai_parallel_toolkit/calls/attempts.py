"""Decide what happens to one call: the only place that knows when to send again. Pure.

`ask` is a generator: it yields what to do next and is told what came of it. A driver does the
doing; there is one for the event loop and one for a thread, and both follow the same decisions.

    Admit -> Claim -> Send -> Keep                     the answer is returned
                           -> End -> (Pause ->) Admit  another attempt
                           -> End                      RequestFailed is raised
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ..core.backoff import backoff_s
from ..core.clock import Clock
from ..core.errors import OutcomeUnknown, RequestFailed, RequestRejected
from ..core.records import Lease, Need, Outcome, OutcomeKind, RawReply, Request
from ..core.text import counted
from ..transport.base import SendFault
from .classify import Clean, classify
from .responses import Answer

#: The longest that a server's Retry-After is honoured at a time.
LONGEST_PAUSE_S = 600.0
_FIRST_PAUSE_S = 0.5
_LONGEST_BACKOFF_S = 60.0
#: What is kept for a last attempt to reach a server.
_LAST_ATTEMPT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How patient a call is. Times are seconds."""

    #: Re-sends after a 5xx or an unknown outcome.
    max_retries: int = 5
    #: Re-sends after an unknown outcome, each of which may be billed.
    max_unknown: int = 1
    #: For the whole call, without the time spent waiting for a key.
    deadline_s: float = 1800.0
    #: For one attempt, from connecting to the reply's last byte.
    request_timeout_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Admit:
    """Wait for a key. Told: the Lease."""

    need: Need


@dataclass(frozen=True, slots=True)
class Claim:
    """Make it durable that this will be sent. Told: the attempt's id."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class Send:
    """Send it: the only step that costs money. Told: RawReply or SendFault."""

    lease: Lease
    attempt_id: int
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Keep:
    """Give the key back and make the answer durable. Told: nothing."""

    lease: Lease
    attempt_id: int
    outcome: Outcome
    reply: RawReply
    answer: Answer


@dataclass(frozen=True, slots=True)
class End:
    """Give the key back and record an attempt without an answer. Told: nothing."""

    lease: Lease
    attempt_id: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds. Told: nothing."""

    seconds: float


Step = Admit | Claim | Send | Keep | End | Pause


class _Tally:
    """What one call has been through in this run."""

    def __init__(self) -> None:
        self.attempts = 0
        self.retries = 0
        self.unknown = 0
        self.unsent = 0
        #: Seconds spent sending and pausing.
        self.spent_s = 0.0


def ask(
    request: Request,
    policy: Policy,
    *,
    max_cost_usd: Decimal | None,
    clock: Clock,
    chance: random.Random,
    clean: Clean,
) -> Generator[Step, Any, Answer]:
    """Take one request from admission to its answer.

    Raises:
        RequestRejected: the provider will never accept it.
        OutcomeUnknown: it was sent and no whole reply came, `max_unknown` + 1 times.
        RequestFailed: retries or the deadline are used up.
    """
    tally = _Tally()
    tokens = request.prompt_tokens + request.reply_tokens
    need = Need(model=request.model, tokens=tokens, max_cost_usd=max_cost_usd)
    while True:
        lease: Lease = yield Admit(need)
        attempt_id: int = yield Claim(lease)
        since_s = clock.now_s()
        timeout_s = min(policy.request_timeout_s, policy.deadline_s - tally.spent_s)
        ended: RawReply | SendFault = yield Send(lease, attempt_id, timeout_s)
        tally.spent_s += clock.now_s() - since_s
        tally.attempts += 1
        outcome, answer = classify(ended, request.path, wall_s=clock.wall_s(), clean=clean)
        if answer is not None and isinstance(ended, RawReply):
            yield Keep(lease, attempt_id, outcome, ended, answer)
            return answer
        yield End(lease, attempt_id, outcome)
        pause_s = _pause_s(outcome, tally, policy, chance.random)
        if pause_s > 0:
            tally.spent_s += pause_s
            yield Pause(pause_s)


def _pause_s(outcome: Outcome, tally: _Tally, policy: Policy, chance: Callable[[], float]) -> float:
    """Return the seconds to wait before the next attempt, or raise when there is to be none."""
    kind = outcome.kind
    if kind is OutcomeKind.REJECTED:
        raise _failure(RequestRejected, "was refused", outcome, tally)
    if kind is OutcomeKind.UNKNOWN:
        tally.unknown += 1
        if tally.unknown > policy.max_unknown:
            raise _failure(OutcomeUnknown, "got no whole reply", outcome, tally)
    if tally.spent_s >= policy.deadline_s:
        raise _failure(RequestFailed, "ran out of time (deadline_s)", outcome, tally)
    if kind in {OutcomeKind.KEY_DEAD, OutcomeKind.NOT_HERE} or outcome.is_limit:
        return 0.0  # the next lease waits as long as is needed
    if kind is OutcomeKind.UNSENT:
        tally.unsent += 1
        wanted_s = _backoff_s(tally.unsent, chance())
        # It costs nothing, so the last attempt is made just before the deadline.
        until_last_s = policy.deadline_s - tally.spent_s - _LAST_ATTEMPT_S
        if until_last_s > 0:
            wanted_s = min(wanted_s, until_last_s)
    else:
        tally.retries += 1
        if tally.retries > policy.max_retries:
            raise _failure(RequestFailed, "failed (max_retries)", outcome, tally)
        wanted_s = outcome.retry_after_s or _backoff_s(tally.retries, chance())
    wanted_s = min(wanted_s, LONGEST_PAUSE_S)
    if tally.spent_s + wanted_s >= policy.deadline_s:  # an attempt after it would have no time
        raise _failure(RequestFailed, "ran out of time (deadline_s)", outcome, tally)
    return wanted_s


def _backoff_s(times: int, chance: float) -> float:
    return backoff_s(times, chance, base_s=_FIRST_PAUSE_S, cap_s=_LONGEST_BACKOFF_S)


def _failure(
    kind: type[RequestFailed], what: str, outcome: Outcome, tally: _Tally
) -> RequestFailed:
    words = outcome.message or outcome.code
    status = f", status {outcome.status}" if outcome.status else ""
    message = f"request {what} after {counted(tally.attempts, 'attempt')}{status}: {words}"
    return kind(
        message,
        outcome=outcome.kind,
        code=outcome.code,
        status=outcome.status,
        attempts=tally.attempts,
        maybe_billed=tally.unknown,
        request_id=outcome.request_id,
    )
