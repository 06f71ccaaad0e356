"""Decide which key serves whom: bookkeeping without locks, clocks, threads or calls outward.

Every method that can serve or fail those who wait returns their requests; the manager wakes them.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random
from typing import NamedTuple

from ..core.errors import NoUsableKey, UsageError
from ..core.records import Lease, Need, Outcome, OutcomeKind
from ..core.text import brief, counted
from .config import APIKey
from .key_state import BlockReason, Group, KeyState
from .model_queue import LeaseRequest, ModelQueue
from .suspicion import Suspicions

_REASONS_SHOWN = 20
_UNUSED = Outcome(kind=OutcomeKind.UNSENT, code="not_used")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Why requests wait for a key."""

    #: How many wait.
    count: int
    #: Clock time, seconds, when the first may be served; None: when a reply comes in.
    until_s: float | None
    #: For people, for example "2 of 3 keys cool down after a rate limit (soonest: key-1)".
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many keys stand how."""

    alive: int = 0
    cooling: int = 0
    half_open: int = 0
    dropped: int = 0
    #: Requests that hold a lease.
    in_flight: int = 0
    #: Requests that wait for one.
    waiting: int = 0

    @property
    def keys(self) -> int:
        return self.alive + self.cooling + self.half_open + self.dropped

    @property
    def states(self) -> str:
        """For people, for example "3 alive, 1 cooling"."""
        others = {"cooling": self.cooling, "on trial": self.half_open, "dropped": self.dropped}
        shown = [f"{number} {state}" for state, number in others.items() if number]
        return ", ".join([f"{self.alive} alive", *shown])

    def __str__(self) -> str:
        keys = counted(self.keys, "key")
        return f"{keys}: {self.states} | {self.in_flight} in flight, {self.waiting} waiting"


class Settled(NamedTuple):
    """What settling a lease, or dropping a key, led to."""

    requests: Sequence[LeaseRequest] = ()
    #: Why the key was dropped by it; None: it was not.
    dropped: str | None = None
    #: Why the key is not asked for the model any more; None: it is, or was not before.
    not_here: str | None = None
    #: With the blame where it belongs.
    outcome: Outcome = _UNUSED


class Pool:
    """The keys, what is lent of them, and who waits."""

    def __init__(self, api_base: str, random: Random) -> None:
        #: By name, in the order in which they were given.
        self.states: dict[str, KeyState] = {}
        #: The queues in which somebody waits.
        self.waiting: dict[ModelQueue, None] = {}
        self._api_base = api_base
        self._random = random
        self._groups: dict[str, Group] = {}
        #: Those that are not dropped; who has rested longest comes first.
        self._resting: dict[KeyState, None] = {}
        #: By model, and by the key that those in it avoid.
        self._queues: dict[tuple[str, str], ModelQueue] = {}
        self._suspicions = Suspicions()
        self._lent: dict[int, tuple[Lease, KeyState]] = {}
        self._last_id = 0
        self._last_number = 0

    def counts(self, now_s: float) -> Counts:
        """Return how many keys stand how, how much is in flight and how many wait."""
        numbers = Counter(state.status(now_s).state for state in self.states.values())
        return Counts(
            alive=numbers["alive"],
            cooling=numbers["cooling"],
            half_open=numbers["on trial"],
            dropped=numbers["dropped"],
            in_flight=len(self._lent),
            waiting=sum(len(queue.requests) for queue in self.waiting),
        )

    def waiting_on(self, now_s: float) -> Wait | None:
        """Return why the request that has waited longest waits, and until when; None: none does."""
        if not self.waiting:
            return None
        first = min((queue.head for queue in self.waiting), key=lambda request: request.number)
        blocked: dict[BlockReason, list[tuple[float, str]]] = {}
        soonest_s = math.inf
        for state in self.states.values():
            block, at_s = state.block(first.need, now_s), state.ready_s(first.need, now_s)
            soonest_s = min(soonest_s, at_s)
            if block is not None:
                blocked.setdefault(block.reason, []).append((at_s, state.key.name))
        parts, of = [], len(self.states)
        for reason in BlockReason:
            if reason in blocked:
                at_s, name = min(blocked[reason], key=lambda one: one[0])
                soonest = f" (soonest: {name})" if at_s < math.inf else ""
                told = f"{len(blocked[reason])} of {of} keys {reason.value}"
                parts.append(told + soonest)
        return Wait(
            count=sum(len(queue.requests) for queue in self.waiting),
            until_s=soonest_s if soonest_s < math.inf else None,
            reason="; ".join(parts),
        )

    def add(self, key: APIKey, now_s: float) -> list[LeaseRequest]:
        name = key.group or key.name
        group = self._groups.setdefault(name, Group(name))
        state = self.states[key.name] = KeyState(key, group, now_s, self._suspicions)
        return self._offer(state, now_s)

    def restore(self, name: str, now_s: float) -> list[LeaseRequest]:
        """Offer a dropped key again, and a half-open one without limit."""
        state = self.states.get(name)
        if state is None:
            raise UsageError("no key has this name; status() lists the names", key_name=name)
        state.dropped = state.half_open = None
        state.not_here.clear()
        self._suspicions.clear(name)
        return self._offer(state, now_s)

    def remove(self, name: str) -> list[LeaseRequest]:
        """Take a key away; leases of it can still be settled."""
        return self._drop(self.states.pop(name), "was removed")

    def drop(self, name: str, outcome: Outcome) -> Settled:
        """Give a key up; unknown names are passed over."""
        state = self.states.get(name)
        if state is None or state.dropped is not None:
            return Settled()
        reason = _reason(outcome)
        return Settled(self._drop(state, reason), reason)

    def unmetered_leases(self, model: str, now_s: float) -> list[Lease]:
        """Return what looks like a lease of every key that can serve a model, now or later."""
        need = Need(model=model, tokens=0)
        able = [state for state in self.states.values() if state.can_ever_serve(model)]
        return [self._lease(state, need, now_s) for state in able]

    def ask(self, request: LeaseRequest, now_s: float) -> list[LeaseRequest]:
        """Serve a request, fail it, or queue it; return others that were served meanwhile."""
        served = self.advance(now_s) if self.waiting and self.next_s() <= now_s else []
        need = request.need
        queue = self._queues.get((need.model, need.avoid))
        if queue is None:
            queue = self._queues[need.model, need.avoid] = ModelQueue(need, self._resting)
        if not queue.requests:
            state = queue.pick(need, None, now_s)
            if state is not None:
                self._grant(request, state, now_s)
                return served
            if not self._can_ever_serve(need.model, need.avoid):
                request.error = self._no_usable_key(need)
                return served
        self._last_number += 1
        request.number = self._last_number
        queue.requests[request.number] = request
        self.waiting[queue] = None
        return served

    def withdraw(
        self, request: LeaseRequest, error: BaseException, now_s: float
    ) -> Sequence[LeaseRequest]:
        """Take a request out of the queue, or its lease back."""
        lease = request.lease
        if lease is not None:
            request.lease, request.error = None, error
            settled = self.settle(lease, _UNUSED, None, now_s)
            return settled.requests if settled is not None else ()
        if request.error is not None:
            return ()
        self._fail(request, error)
        return [request, *self._serve((), now_s)]

    def advance(self, now_s: float) -> list[LeaseRequest]:
        """Serve what can be served by now."""
        due = {what for queue in self.waiting for what in queue.take_due(now_s)}
        states = [state for state in self._resting if state in due or state.group in due]
        return self._serve(states, now_s)

    def next_s(self) -> float:
        """Return the clock time, seconds, to advance at; inf: only a change can help."""
        return min((queue.next_s for queue in self.waiting), default=math.inf)

    def settle(
        self, lease: Lease, outcome: Outcome, cost_usd: Decimal | None, now_s: float
    ) -> Settled | None:
        """Take back a lease and draw the conclusions for its key and group; None: not lent."""
        held, state = self._lent.get(lease.id, (None, None))
        if held is not lease or state is None:
            return None
        del self._lent[lease.id]
        outcome = self._judged(lease, state, outcome)
        kind, model = outcome.kind, lease.need.model
        failed: list[LeaseRequest] = []
        dropped = not_here = None
        if kind.is_answer:
            state.group.answered(lease.id)
        elif kind is OutcomeKind.BUSY and outcome.is_limit:
            wait_s = outcome.retry_after_s
            state.group.hit_limit(lease.id, self._last_id, wait_s, now_s, self._random)
        elif kind is OutcomeKind.BUSY and state in self._resting:
            # Overloaded: the others go first, though it stays open when it is the only one.
            self._put_last(state)
        elif kind is OutcomeKind.NOT_HERE:
            if model not in state.not_here:
                not_here = state.not_here[model] = _reason(outcome)
            failed = self._fail_hopeless()
        elif kind is OutcomeKind.KEY_DEAD and state.dropped is None:
            dropped = _reason(outcome)
            failed = self._drop(state, dropped)
        state.settle(lease.need, outcome, cost_usd, now_s)
        served = self._serve_changed(state, now_s)
        return Settled([*failed, *served], dropped, not_here, outcome)

    def _judged(self, lease: Lease, state: KeyState, outcome: Outcome) -> Outcome:
        model = lease.need.model
        if outcome.suspect is not None and not state.can_ever_serve(model):  # known meanwhile
            kind = OutcomeKind.NOT_HERE if state.dropped is None else OutcomeKind.KEY_DEAD
            return replace(outcome, kind=kind, suspect=None)
        has_other = outcome.suspect is not None and self._can_ever_serve(model, state.key.name)
        return self._suspicions.judged(lease, outcome, newest_id=self._last_id, has_other=has_other)

    def fail_all(self, error: BaseException) -> list[LeaseRequest]:
        """Fail everyone who waits."""
        requests = [request for queue in self.waiting for request in queue.requests.values()]
        for request in requests:
            self._fail(request, error)
        return requests

    def _offer(self, state: KeyState, now_s: float) -> list[LeaseRequest]:
        self._resting.setdefault(state)
        return self._serve_changed(state, now_s)

    def _drop(self, state: KeyState, reason: str) -> list[LeaseRequest]:
        state.dropped, state.half_open = state.dropped or reason, None
        self._resting.pop(state, None)
        return self._fail_hopeless()

    def _fail_hopeless(self) -> list[LeaseRequest]:
        """Fail those whom no key can serve any more."""
        failed: list[LeaseRequest] = []
        for queue in self.waiting:
            if not self._can_ever_serve(queue.model, queue.avoid):
                failed += queue.requests.values()
        for request in failed:
            self._fail(request, self._no_usable_key(request.need))
        return failed

    def _can_ever_serve(self, model: str, avoid: str) -> bool:
        return any(state.can_ever_serve(model, avoid) for state in self._resting)

    def _fail(self, request: LeaseRequest, error: BaseException) -> None:
        request.error = error
        self._dequeue(self._queues[request.need.model, request.need.avoid], request)

    def _dequeue(self, queue: ModelQueue, request: LeaseRequest) -> None:
        del queue.requests[request.number]
        if not queue.requests:
            del self.waiting[queue]

    def _serve_changed(self, state: KeyState, now_s: float) -> list[LeaseRequest]:
        """Serve with a key to which something happened, and with its group if that was blocked."""
        is_group = False
        for queue in self._queues.values():
            is_group |= queue.changed(state)
        if not self.waiting:
            return []
        if not is_group:
            return self._serve([state] if state in self._resting else [], now_s)
        return self._serve([one for one in self._resting if one.group is state.group], now_s)

    def _serve(self, states: Iterable[KeyState], now_s: float) -> list[LeaseRequest]:
        """Serve those who wait with `states`, which may have become free.

        The longest waiting goes first; one that cannot be served holds up its queue.
        """
        served = []
        turns = [(queue.head.number, queue) for queue in self.waiting]
        heapq.heapify(turns)
        while turns:
            queue = turns[0][1]
            request = queue.head
            state = queue.pick(request.need, states, now_s)
            if state is None:
                heapq.heappop(turns)
                continue
            self._dequeue(queue, request)
            self._grant(request, state, now_s)
            served.append(request)
            if queue.requests:
                heapq.heapreplace(turns, (queue.head.number, queue))
            else:
                heapq.heappop(turns)
        return served

    def _grant(self, request: LeaseRequest, state: KeyState, now_s: float) -> None:
        state.lend(request.need, now_s)
        self._put_last(state)
        request.lease = lease = self._lease(state, request.need, now_s)
        self._lent[lease.id] = (lease, state)

    def _put_last(self, state: KeyState) -> None:
        del self._resting[state]
        self._resting[state] = None

    def _lease(self, state: KeyState, need: Need, now_s: float) -> Lease:
        key = state.key
        self._last_id += 1
        return Lease(
            id=self._last_id,
            key_name=key.name,
            secret=key.secret,
            api_base=key.api_base or self._api_base,
            azure_deployment=key.azure_deployment,
            api_version=key.api_version,
            need=need,
            since_s=now_s,
        )

    def _no_usable_key(self, need: Need) -> NoUsableKey:
        model = need.model
        reasons = {name: state.why_never(model) for name, state in self.states.items()}
        # The words of a drop were told when it happened; those of a missing model are told here.
        told = next((n for n, state in self.states.items() if state.dropped is None), "")
        listed = [f"{n}: {why if n == told else brief(why)}" for n, why in reasons.items()]
        more = len(listed) - _REASONS_SHOWN
        shown = "; ".join(listed[:_REASONS_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        return NoUsableKey(
            f"no key can serve {model} ({shown or 'there is none'}); "
            "add a key or top one up, then run again",
            reasons=reasons,
        )


def _reason(outcome: Outcome) -> str:
    head = " ".join(str(part) for part in (outcome.status, outcome.code) if part)
    told = outcome.message.rstrip().removesuffix(".")
    return ": ".join(part for part in (head, told) if part) or "refused"
