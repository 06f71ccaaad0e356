"""Decide what happens to one call: the only place that knows when to send again. Pure.

`ask` is a generator: it yields what to do next and is told what came of it; `driver` does it.

    Admit -> Claim -> Send -> End                      the reply is returned
                           -> End -> (Pause ->) Admit  another attempt
                           -> End                      RequestFailed is raised
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

from ..core.clock import Clock, backoff_s
from ..core.errors import OutcomeUnknown, RequestFailed, RequestRejected
from ..core.records import (
    Lease,
    Need,
    Outcome,
    OutcomeKind,
    RawReply,
    Reply,
    Request,
    Usage,
)
from ..core.text import counted
from ..costs.prices import PriceBook
from ..keys.circuit import Outage
from ..transport.base import SendFault
from .classify import classify
from .limits import LimitHistory, with_told_limit
from .model_parameters import ModelParameters
from .refusals import Clean
from .token_use import TokenUse
from .usage import served

#: The longest that a server's Retry-After is honoured at a time.
LONGEST_PAUSE_S = 600.0
_FIRST_PAUSE_S = 0.5
_LONGEST_BACKOFF_S = 60.0
_OUT_OF_TIME = "ran out of time (deadline_s)"
#: How far replies came that are paid, and that would come to no better end a second time.
_COMES_AGAIN = frozenset({"head", "size"})
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
    #: For a key that answers nothing but limits and does not say how long.
    limit_patience_s: float = 900.0


class Admit(NamedTuple):
    """Wait for a key. Told: the Lease; or the Outage that has outlasted `deadline_s`."""

    need: Need


class Claim(NamedTuple):
    """Make it durable that this will be sent. Told: the attempt's id."""

    lease: Lease


class Send(NamedTuple):
    """Send it: the only step that costs money. Told: RawReply or SendFault."""

    request: Request
    lease: Lease
    attempt_id: int
    timeout_s: float


class End(NamedTuple):
    """Give the key back and record how an attempt ended, durably if it was answered.

    Told: the outcome, with the blame where it belongs.
    """

    lease: Lease
    attempt_id: int
    outcome: Outcome
    #: What came; None: it was not sent, or a `generate` raised.
    ended: Reply | RawReply | SendFault | None = None
    #: From its sending to its end; None: it was not sent.
    service_s: float | None = None


class Pause(NamedTuple):
    """Wait so many seconds. Told: nothing."""

    seconds: float


Step = Admit | Claim | Send | End | Pause


@dataclass(slots=True)
class _History:
    """What one call has been through in this run."""

    attempts: int = 0
    retries: int = 0
    unknown: int = 0
    unsent: int = 0
    #: Seconds spent sending and pausing.
    spent_s: float = 0.0
    #: What came last, without secrets; None: no reply.
    reply: RawReply | None = None
    #: None: it was never limited.
    limits: LimitHistory | None = None


def ask(
    request: Request,
    policy: Policy,
    *,
    prices: PriceBook,
    parameters: ModelParameters,
    token_use: TokenUse,
    clock: Clock,
    chance: random.Random,
    clean: Clean,
) -> Generator[Step, Any, Reply]:
    """Take one request from admission to its reply; raises RequestFailed or one of its kin."""
    history = _History()
    tokens, assumed_tokens = token_use.expected(request)
    need = Need(
        model=request.model,
        tokens=tokens,
        max_cost_usd=prices.max_cost_usd(request),
        assumed_tokens=assumed_tokens,
        request_hash=request.hash,
    )
    while True:
        lease: Lease | Outage = yield Admit(need)
        if isinstance(lease, Outage):
            told = replace(lease.failure, message=str(lease))
            raise _failure(RequestFailed, _OUT_OF_TIME, told, history)
        attempt_id: int = yield Claim(lease)
        since_s = clock.now_s()
        timeout_s = min(policy.request_timeout_s, policy.deadline_s - history.spent_s)
        body = parameters.fitted(request.path, request.model, request.body, lease.api_base)
        sent = request if body is request.body else replace(request, body=body)
        ended: RawReply | SendFault = yield Send(sent, lease, attempt_id, timeout_s)
        service_s = clock.now_s() - since_s
        history.spent_s += service_s
        history.attempts += 1
        bill = partial(_bill, request, prices, lease)
        wall_s = clock.wall_s()
        outcome, reply = classify(
            ended, request.path, wall_s=wall_s, clean=clean, bill=bill, model=request.model
        )
        if reply is not None:
            if outcome.usage is not None:
                token_use.learn(request, outcome.usage)
            yield End(lease, attempt_id, outcome, reply, service_s)
            return reply
        outcome = with_told_limit(outcome, ended)
        history.reply = ended.as_refusal(clean) if isinstance(ended, RawReply) else None
        outcome = yield End(lease, attempt_id, outcome, ended, service_s)
        if outcome.kind is OutcomeKind.REJECTED and _fits_now(sent, lease, ended, parameters):
            continue
        if outcome.suspect is not None:  # another key may see it otherwise
            need = replace(need, avoid=lease.key_name)
            continue
        if outcome.is_limit:
            need = _need_after_limit(need, outcome, history, clock.now_s(), chance)
        pause_s = _pause_s(outcome, history, policy, chance.random)
        if pause_s > 0:
            history.spent_s += pause_s
            yield Pause(pause_s)


def _bill(
    request: Request, prices: PriceBook, lease: Lease, usage: Usage | None
) -> tuple[Usage | None, Decimal | None]:
    usage = served(usage, request.service_tier)
    prices.note_reply(request, usage)
    return usage, prices.cost_usd(request.model, usage, lease.azure_deployment)


def _fits_now(
    sent: Request, lease: Lease, ended: RawReply | SendFault, parameters: ModelParameters
) -> bool:
    """Return whether a refusal tells how the request is to be sent instead."""
    if not isinstance(ended, RawReply) or ended.status < 400:
        return False
    parameters.learn(sent.path, sent.model, ended.body, lease.api_base)
    return parameters.fitted(sent.path, sent.model, sent.body, lease.api_base) is not sent.body


def _need_after_limit(
    need: Need,
    outcome: Outcome,
    history: _History,
    now_s: float,
    chance: random.Random,
) -> Need:
    """Return what to ask a key for next, or raise when the limit is a refusal of the request."""
    refused = replace(outcome, kind=OutcomeKind.REJECTED)
    if outcome.standing is None:
        if outcome.is_too_large:
            raise _failure(RequestRejected, "is too large for the limit", refused, history)
        return need
    history.limits = history.limits or LimitHistory()
    after = history.limits.next_need(need, outcome, outcome.standing, now_s, chance.random())
    if after is None:
        what = "was limited again and again while others passed (split it or raise the limit)"
        raise _failure(RequestRejected, what, refused, history)
    return after


def _pause_s(
    outcome: Outcome, history: _History, policy: Policy, chance: Callable[[], float]
) -> float:
    """Return the seconds to wait before the next attempt, or raise when there is to be none."""
    kind = outcome.kind
    if kind is OutcomeKind.REJECTED:
        raise _failure(RequestRejected, "was refused", outcome, history)
    if kind is OutcomeKind.UNSENT and outcome.status is not None and history.unsent:
        raise _failure(RequestFailed, "found no API", outcome, history)
    if kind is OutcomeKind.UNKNOWN:
        history.unknown += 1
        if history.unknown > policy.max_unknown or outcome.code in _COMES_AGAIN:
            raise _failure(OutcomeUnknown, "got no whole reply", outcome, history)
    if history.spent_s >= policy.deadline_s:
        raise _failure(RequestFailed, _OUT_OF_TIME, outcome, history)
    is_of_key = kind in {OutcomeKind.KEY_DEAD, OutcomeKind.NOT_HERE}
    if is_of_key or outcome.is_limit or outcome.is_outage:
        return 0.0  # the next lease waits as long as is needed
    if kind is OutcomeKind.UNSENT:
        history.unsent += 1
        wanted_s = _backoff_s(history.unsent, chance())
        # It costs nothing, so the last attempt is made just before the deadline.
        until_last_s = policy.deadline_s - history.spent_s - _LAST_ATTEMPT_S
        if until_last_s > 0:
            wanted_s = min(wanted_s, until_last_s)
    else:
        history.retries += 1
        if history.retries > policy.max_retries:
            raise _failure(RequestFailed, "failed (max_retries)", outcome, history)
        wanted_s = outcome.retry_after_s or _backoff_s(history.retries, chance())
    wanted_s = min(wanted_s, LONGEST_PAUSE_S)
    if history.spent_s + wanted_s >= policy.deadline_s:  # an attempt after it would have no time
        raise _failure(RequestFailed, _OUT_OF_TIME, outcome, history)
    return wanted_s


def _backoff_s(times: int, chance: float) -> float:
    return backoff_s(times, chance, base_s=_FIRST_PAUSE_S, cap_s=_LONGEST_BACKOFF_S)


def _failure(
    kind: type[RequestFailed], what: str, outcome: Outcome, history: _History
) -> RequestFailed:
    words = outcome.message or outcome.code
    status = f", status {outcome.status}" if outcome.status else ""
    message = f"request {what} after {counted(history.attempts, 'attempt')}{status}: {words}"
    return kind(
        message,
        outcome=outcome.kind,
        code=outcome.code,
        status=outcome.status,
        attempts=history.attempts,
        maybe_billed=history.unknown,
        request_id=outcome.request_id,
        reply=history.reply,
    )
