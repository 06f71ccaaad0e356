"""Decide which key serves whom: bookkeeping without locks, clocks, threads or calls outward.

Every method that can serve or fail those who wait returns their tickets; the manager wakes them.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from decimal import Decimal
from random import Random
from typing import NamedTuple

from ..core.errors import LeaseTimeout, NoUsableKey
from ..core.records import Lease, Need, Outcome, OutcomeKind, RateHints
from ..core.text import brief
from .bucket import LearnedLimits
from .config import APIKey
from .lease_request import LeaseRequest
from .model_queue import Lane
from .slots import Group, KeyState

_REASONS_SHOWN = 20


class Settled(NamedTuple):
    """What settling a lease led to."""

    tickets: list[LeaseRequest]
    #: Why the key was dropped by it; None: it was not.
    dropped: str | None = None


class Pool:
    """The keys, what is lent of them, and who waits."""

    def __init__(self, api_base: str, random: Random) -> None:
        self.slots: dict[str, KeyState] = {}
        #: Lanes in which somebody waits.
        self.waiting: dict[Lane, None] = {}
        self._api_base = api_base
        self._random = random
        self._groups: dict[str, Group] = {}
        self._lanes: dict[str, Lane] = {}
        self._lent: dict[int, tuple[Lease, KeyState]] = {}
        self._expiries: list[tuple[float, int, LeaseRequest]] = []
        self._last_id = 0
        self._last_ticket = 0

    @property
    def in_flight(self) -> int:
        return len(self._lent)

    @property
    def waiting_count(self) -> int:
        return sum(len(lane.tickets) for lane in self.waiting)

    def add(self, key: APIKey, now_s: float) -> list[LeaseRequest]:
        group_name = key.group or key.name
        group = self._groups.setdefault(group_name, Group(group_name))
        slot = self.slots[key.name] = KeyState(key, group, now_s)
        return self._admit(slot, now_s)

    def restore(self, name: str, now_s: float) -> list[LeaseRequest]:
        """Offer a dropped key again, and one on trial without limit."""
        slot = self.slots[name]
        slot.trial = None
        if slot.dropped is not None:
            slot.dropped = None
            return self._admit(slot, now_s)
        for lane in self._lanes.values():
            lane.changed(slot)
        return self._serve(now_s)

    def remove(self, name: str) -> list[LeaseRequest]:
        """Take a key away; leases of it can still be settled."""
        slot = self.slots.pop(name)
        return self._retire(slot, "was removed")

    def passes(self, need: Need, now_s: float) -> list[Lease]:
        """Return what looks like a lease of every key that can serve `need`, now or later."""
        able = [slot for slot in self.slots.values() if slot.can_ever_serve(need.model)]
        return [self._lease(slot, need, self._new_id(), now_s) for slot in able]

    def drop(self, name: str, outcome: Outcome) -> Settled:
        """Give a key up."""
        slot = self.slots[name]
        is_new = slot.dropped is None
        reason = _reason(outcome)
        return Settled(self._retire(slot, reason), reason if is_new else None)

    def request(self, ticket: LeaseRequest, now_s: float) -> list[LeaseRequest]:
        """Serve a ticket, fail it, or queue it; return other tickets that were settled by it."""
        lane = self._lane(ticket.need.model)
        if not lane.usable:
            ticket.error = self._no_usable_key(lane)
            return []
        if not self.waiting:
            slot = lane.pick(ticket.need, now_s)
            if slot is not None:
                self._grant(ticket, slot, now_s)
                return []
        self._last_ticket += 1
        ticket.number = self._last_ticket
        lane.tickets[ticket.number] = ticket
        self.waiting[lane] = None
        if ticket.expires_s is not None:
            heapq.heappush(self._expiries, (ticket.expires_s, ticket.number, ticket))
        return [other for other in self._serve(now_s) if other is not ticket]

    def withdraw(
        self, ticket: LeaseRequest, error: BaseException, now_s: float
    ) -> list[LeaseRequest]:
        """Take a ticket out of the queue, or its lease back."""
        if not ticket.is_waiting:
            return []
        self._fail(ticket, error)
        return [ticket, *self._serve(now_s)]

    def advance(self, now_s: float) -> list[LeaseRequest]:
        """Serve what can be served by now, and fail what has waited too long."""
        done = self._serve(now_s)
        late = []
        while self._expiries:
            expires_s, _, ticket = self._expiries[0]
            if ticket.is_waiting and expires_s > now_s:
                break
            heapq.heappop(self._expiries)
            if ticket.is_waiting:
                self._fail(ticket, LeaseTimeout())
                late.append(ticket)
        return done + late + (self._serve(now_s) if late else [])

    def next_s(self) -> float | None:
        """Return the clock time, seconds, to advance at; None: only a change can help."""
        times = [time_s for lane in self.waiting if (time_s := lane.next_s()) is not None]
        while self._expiries and not self._expiries[0][2].is_waiting:
            heapq.heappop(self._expiries)
        if self._expiries:
            times.append(self._expiries[0][0])
        return min(times, default=None)

    def settle(
        self, lease: Lease, outcome: Outcome, cost_usd: Decimal | None, now_s: float
    ) -> Settled | None:
        """Take back a lease and draw the conclusions for its key and group; None: not lent."""
        held, slot = self._lent.get(lease.id, (None, None))
        if held is not lease or slot is None:
            return None
        del self._lent[lease.id]
        self._conclude(slot, lease, outcome, now_s)
        slot.in_flight -= 1
        slot.group.in_flight -= 1
        self._account(slot, lease.need, outcome, cost_usd, now_s)
        failed: list[LeaseRequest] = []
        dropped = None
        if outcome.kind is OutcomeKind.NOT_HERE:
            failed = self._not_here(slot, lease.need.model)
        elif outcome.kind is OutcomeKind.KEY_DEAD and slot.dropped is None:
            dropped = _reason(outcome)
            failed = self._retire(slot, dropped)
        for lane in self._lanes.values():
            lane.changed(slot)
        return Settled(failed + self._serve(now_s) if self.waiting else failed, dropped)

    def fail_all(self, error: BaseException) -> list[LeaseRequest]:
        """Fail everyone who waits."""
        tickets = [ticket for lane in self.waiting for ticket in lane.tickets.values()]
        for ticket in tickets:
            self._fail(ticket, error)
        return tickets

    def first_waiting(self) -> LeaseRequest | None:
        """Return the ticket that has waited longest."""
        heads = [lane.head for lane in self.waiting]
        return min(heads, key=lambda ticket: ticket.number, default=None)

    def _conclude(self, slot: KeyState, lease: Lease, outcome: Outcome, now_s: float) -> None:
        group = slot.group
        if outcome.kind is OutcomeKind.OK:
            slot.trial = None
            group.answered(lease.id)
        elif outcome.kind is OutcomeKind.BUSY and outcome.is_limit:
            group.hit_limit(lease.id, self._last_id, outcome.retry_after_s, now_s, self._random)
        elif outcome.kind is OutcomeKind.BUSY:
            # Overloaded: the others go first, though it stays open when it is the only one.
            slot.order = self._new_id()

    def _lane(self, model: str) -> Lane:
        lane = self._lanes.get(model)
        if lane is None:
            lane = self._lanes[model] = Lane(model)
            for slot in self.slots.values():
                if slot.can_ever_serve(model):
                    lane.usable += 1
                    lane.offer(slot)
        return lane

    def _admit(self, slot: KeyState, now_s: float) -> list[LeaseRequest]:
        for lane in self._lanes.values():
            if slot.can_ever_serve(lane.model):
                lane.usable += 1
                lane.offer(slot)
        return self._serve(now_s)

    def _retire(self, slot: KeyState, reason: str) -> list[LeaseRequest]:
        if slot.dropped is not None:
            return []
        slot.dropped = reason
        slot.trial = None
        lanes = [lane for lane in self._lanes.values() if lane.model not in slot.not_here]
        return [ticket for lane in lanes for ticket in self._leave(lane, slot)]

    def _not_here(self, slot: KeyState, model: str) -> list[LeaseRequest]:
        if not slot.can_ever_serve(model):
            slot.not_here.add(model)
            return []
        slot.not_here.add(model)
        return self._leave(self._lanes[model], slot)

    def _leave(self, lane: Lane, slot: KeyState) -> list[LeaseRequest]:
        lane.usable -= 1
        lane.forget(slot)
        if lane.usable:
            return []
        tickets = list(lane.tickets.values())
        for ticket in tickets:
            self._fail(ticket, self._no_usable_key(lane))
        return tickets

    def _fail(self, ticket: LeaseRequest, error: BaseException) -> None:
        ticket.error = error
        self._dequeue(self._lanes[ticket.need.model], ticket)

    def _dequeue(self, lane: Lane, ticket: LeaseRequest) -> None:
        del lane.tickets[ticket.number]
        if not lane.tickets:
            del self.waiting[lane]

    def _serve(self, now_s: float) -> list[LeaseRequest]:
        """Serve who can be served, the longest waiting first; who cannot holds up its lane."""
        done = []
        lanes = list(self.waiting)
        while lanes:
            lane = min(lanes, key=lambda lane: lane.head.number) if len(lanes) > 1 else lanes[0]
            ticket = lane.head
            slot = lane.pick(ticket.need, now_s)
            if slot is None:
                lanes.remove(lane)
                continue
            self._dequeue(lane, ticket)
            self._grant(ticket, slot, now_s)
            done.append(ticket)
            if not lane.tickets:
                lanes.remove(lane)
        return done

    def _grant(self, ticket: LeaseRequest, slot: KeyState, now_s: float) -> None:
        lease_id = self._new_id()
        slot.take(ticket.need, lease_id, now_s)
        ticket.lease = self._lease(slot, ticket.need, lease_id, now_s)
        self._lent[lease_id] = (ticket.lease, slot)

    def _lease(self, slot: KeyState, need: Need, lease_id: int, now_s: float) -> Lease:
        key = slot.key
        return Lease(
            id=lease_id,
            key_name=key.name,
            secret=key.secret,
            api_base=key.api_base or self._api_base,
            azure_deployment=key.azure_deployment,
            api_version=key.api_version,
            need=need,
            since_s=now_s,
        )

    def _account(
        self, slot: KeyState, need: Need, outcome: Outcome, cost_usd: Decimal | None, now_s: float
    ) -> None:
        usage = outcome.usage
        if outcome.kind is OutcomeKind.UNSENT:
            slot.take_tokens(need.model, -need.tokens, now_s)
        else:
            slot.requests += 1
        if usage is not None:
            slot.take_tokens(need.model, usage.total_tokens - need.tokens, now_s)
            slot.tokens += usage.total_tokens
            slot.cost_usd += cost_usd or 0
        if outcome.hints is not None:
            _learn(slot, need.model, outcome.hints, now_s)

    def _new_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _no_usable_key(self, lane: Lane) -> NoUsableKey:
        reasons: Mapping[str, str] = {name: slot.why_never() for name, slot in self.slots.items()}
        listed = [f"{name}: {brief(reason)}" for name, reason in reasons.items()]
        return NoUsableKey(
            f"no key can serve {lane.model} ({_listed(listed) or 'there is none'}); "
            "add a key or top one up, then run again",
            reasons=reasons,
        )


def _listed(items: Sequence[str]) -> str:
    more = len(items) - _REASONS_SHOWN
    return "; ".join(items[:_REASONS_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _reason(outcome: Outcome) -> str:
    head = " ".join(str(part) for part in (outcome.status, outcome.code) if part)
    told = outcome.message.rstrip().removesuffix(".")
    return ": ".join(part for part in (head, told) if part) or "refused"


def _learn(slot: KeyState, model: str, hints: RateHints, now_s: float) -> None:
    """Learn the limits that the key's owner did not give."""
    if hints.limit_requests is None and hints.limit_tokens is None:
        return
    learned = slot.group.learned.setdefault(model, LearnedLimits())
    if slot.key.rpm is None:
        learned.learn_requests(hints, now_s)
    if slot.key.tpm is None:
        learned.learn_tokens(hints, now_s)
