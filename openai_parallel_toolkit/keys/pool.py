"""The keys and what the end of each request means for them: bookkeeping without locks or clocks.

Every method that can serve or fail those who wait returns their requests; the manager wakes them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from random import Random
from types import MappingProxyType
from typing import NamedTuple

from ..core.errors import UsageError
from ..core.records import Lease, Need, Outcome, OutcomeKind, Standing, Suspect
from .circuit import Circuit, Outage, address_of
from .config import APIKey
from .key_state import KeyState
from .lease_queues import LeaseQueues
from .model_queue import LeaseRequest
from .pace import Group
from .standing import Counts, Wait, count_keys, why_waiting
from .suspicion import Suspicions

_UNUSED = Outcome(kind=OutcomeKind.UNSENT, code="not_used")


class Settled(NamedTuple):
    """What settling a lease, or dropping a key, led to."""

    requests: Sequence[LeaseRequest] = ()
    #: Why keys were dropped by it, by name.
    dropped: Mapping[str, str] = MappingProxyType({})
    #: Why the key is not asked for the model any more; None: it is, or was not before.
    not_here: str | None = None
    #: That the key's server has begun to fail everyone; None: it did not just begin to.
    outage: Outage | None = None
    #: With the blame where it belongs, and how others fare.
    outcome: Outcome = _UNUSED


class Pool:
    """The keys, and the queues for them."""

    def __init__(self, api_base: str, random: Random) -> None:
        #: By name, in the order in which they were given.
        self.states: dict[str, KeyState] = {}
        self.queues = LeaseQueues(api_base, self.states)
        self._api_base = api_base
        self._random = random
        #: By address.
        self._circuits: dict[str, Circuit] = {}
        self._groups: dict[str, Group] = {}
        self._suspicions = Suspicions()
        #: By model: requests that were answered, and that were limited.
        self._answers: Counter[str] = Counter()
        #: Seconds from lease to answer, of all answers together.
        self._answer_s = 0.0
        self._limits: Counter[str] = Counter()

    def counts(self, now_s: float) -> Counts:
        """Return how many keys stand how, how much is in flight and how many wait."""
        queues = self.queues
        counts = count_keys(self.states.values(), len(queues.lent), len(queues.requests), now_s)
        answers = sum(self._answers.values())
        return replace(counts, answers=answers, answer_s=self._answer_s)

    def waiting_on(self, now_s: float) -> Wait | None:
        """Return why the request that has waited longest waits, and until when; None: none does."""
        first, count = self.queues.first, len(self.queues.requests)
        if first is None:
            return None
        return why_waiting(self.states.values(), first.need, count, now_s)

    def blocked_by(self, need: Need, now_s: float) -> str:
        """Return in a word what keeps the key that could serve `need` first from it."""
        states = [state for state in self.states.values() if state.can_ever_serve(need)]
        first = min(states, key=lambda state: state.ready_s(need, now_s), default=None)
        block = None if first is None else first.block(need, now_s)
        return "turn" if block is None else block.reason.name.lower()

    def outage(self, need: Need, now_s: float) -> Outage | None:
        """Return how long every key for a need has been without a server; None: one has one."""
        if not any(circuit.is_open for circuit in self._circuits.values()):
            return None
        able = [state for state in self.states.values() if state.can_ever_serve(need)]
        outages = [state.circuit.outage(now_s) for state in able]
        known = [outage for outage in outages if outage is not None]
        if not able or len(known) < len(outages):
            return None
        return min(known, key=lambda outage: outage.lasted_s)

    def add(self, key: APIKey, now_s: float) -> list[LeaseRequest]:
        name = key.group or key.name
        group = self._groups.setdefault(name, Group(name))
        address = address_of(key.api_base or self._api_base)
        circuit = self._circuits.setdefault(address, Circuit(address, self._random))
        state = KeyState(key, group, circuit, self._suspicions, now_s)
        self.states[key.name] = state
        return self.queues.offer(state, now_s)

    def restore(self, name: str, now_s: float) -> list[LeaseRequest]:
        """Offer a dropped key again, and a half-open one without limit."""
        state = self.states.get(name)
        if state is None:
            raise UsageError("no key has this name; status() lists the names", key_name=name)
        state.dropped = state.half_open = None
        state.not_here.clear()
        state.exhausted.clear()
        self._suspicions.clear(name)
        return self.queues.offer(state, now_s)

    def remove(self, name: str) -> list[LeaseRequest]:
        """Take a key away; leases of it can still be settled."""
        return self._drop(self.states.pop(name), "was removed")

    def drop(self, name: str, outcome: Outcome) -> Settled:
        """Give a key up; unknown names are passed over."""
        state = self.states.get(name)
        if state is None or state.dropped is not None:
            return Settled()
        reason = _reason(outcome)
        return Settled(self._drop(state, reason), {name: reason})

    def exhaust(self, lease: Lease, reason: str) -> Settled:
        """Give up the keys of a lease's group: for its model alone if they answer for others."""
        state, model = self.states.get(lease.key_name), lease.need.model
        if state is None:
            return Settled()
        kin = [one for one in self.states.values() if one.group is state.group]
        if state.group.answers_others(model):
            for one in kin:
                one.exhausted[model] = reason
            return Settled(self.queues.fail_hopeless())
        alive = [one for one in kin if one.dropped is None]
        failed = [request for one in alive for request in self._drop(one, reason)]
        return Settled(failed, {one.key.name: reason for one in alive})

    def unmetered_leases(self, model: str, now_s: float) -> list[Lease]:
        """Return what looks like a lease of every key that can serve a model, now or later."""
        need = Need(model=model, tokens=0)
        able = [state for state in self.states.values() if state.can_ever_serve(need)]
        return [self.queues.lease(state, need, now_s) for state in able]

    def withdraw(
        self, request: LeaseRequest, error: BaseException, now_s: float
    ) -> Sequence[LeaseRequest]:
        """Take a request out of the queue, or its lease back."""
        if request.lease is None:
            return self.queues.withdraw(request, error, now_s)
        lease, request.lease, request.error = request.lease, None, error
        settled = self.settle(lease, _UNUSED, None, now_s)
        return settled.requests if settled is not None else ()

    def settle(
        self, lease: Lease, outcome: Outcome, cost_usd: Decimal | None, now_s: float
    ) -> Settled | None:
        """Take back a lease and draw the conclusions for its key and group; None: not lent."""
        queues = self.queues
        held, state = queues.lent.get(lease.id, (None, None))
        if held is not lease or state is None:
            return None
        del queues.lent[lease.id]
        is_ok = outcome.kind is OutcomeKind.OK
        if not (is_ok and self._suspicions.pass_over(lease)):
            outcome = self._judged(lease, state, outcome, now_s)
        kind, need = outcome.kind, lease.need
        failed: list[LeaseRequest] = []
        dropped, not_here = {}, None
        is_answer = is_ok or kind.is_answer
        if is_answer:
            self._answers[need.model] += 1
            self._answer_s += now_s - lease.since_s
            state.group.answered(need, lease.id, tells=outcome.hints is not None)
        elif kind is OutcomeKind.BUSY and not outcome.is_limit:
            # Overloaded: the others go first, though it stays open when it is the only one.
            queues.put_last(state)
        elif kind is OutcomeKind.NOT_HERE:
            if need.model not in state.not_here:
                not_here = state.not_here[need.model] = _reason(outcome)
            failed = queues.fail_hopeless()
        elif kind is OutcomeKind.KEY_DEAD and state.dropped is None:
            dropped = {state.key.name: _reason(outcome)}
            failed = self._drop(state, _reason(outcome))
        pace = state.group.paces[need.model]
        is_first = pace.learned is None and outcome.hints is not None
        state.settle(need, outcome, cost_usd, now_s)
        if is_first and pace.learned is not None:  # what is under way the reply does not know of
            pace.learned.take(*queues.lent_after(lease, state.group), now_s)
        circuit, was_open = state.circuit, state.circuit.is_open
        changed, outage = [state], None
        circuit.in_flight -= 1
        if not (is_answer and circuit.is_well):
            if circuit.ended(lease, queues.last_id, outcome, now_s):
                changed = [one for one in self.states.values() if one.circuit is circuit]
            if circuit.is_blamed(outcome):
                outcome = replace(outcome, is_outage=True)
            outage = None if was_open else circuit.outage(now_s)
        failed += queues.serve_changed(changed, now_s)
        return Settled(failed, dropped, not_here, outage, outcome)

    def _judged(self, lease: Lease, state: KeyState, outcome: Outcome, now_s: float) -> Outcome:
        """Return an outcome with the blame where it belongs."""
        if outcome.kind is OutcomeKind.BUSY and outcome.is_limit:
            standing = self._limited(lease, state.group, outcome, now_s)
            outcome = replace(outcome, standing=standing)
        has_other = False
        if outcome.suspect is not None:
            here = Need(model=lease.need.model, tokens=0)
            if not state.can_ever_serve(here):  # known meanwhile
                kind = OutcomeKind.NOT_HERE if state.dropped is None else OutcomeKind.KEY_DEAD
                return replace(outcome, kind=kind, suspect=None)
            has_other = self.queues.can_ever_serve(replace(here, avoid=state.key.name))
            if outcome.suspect is Suspect.ADDRESS:
                base = state.key.api_base
                elsewhere = (one for one in self.states.values() if one.key.api_base != base)
                has_other = any(one.can_ever_serve(here) for one in elsewhere)
        newest_id = self.queues.last_id
        return self._suspicions.judged(lease, outcome, newest_id=newest_id, has_other=has_other)

    def _limited(self, lease: Lease, group: Group, outcome: Outcome, now_s: float) -> Standing:
        """Let the group cool down, unless it is this request alone that is limited."""
        need = lease.need
        is_too_large = group.is_exceeded(need, outcome)
        if not (is_too_large or need.not_before_s):
            self._limits[need.model] += 1
            pace = group.whole if outcome.is_group_limit else group.paces[need.model]
            pace.hit_limit(lease.id, self.queues.last_id, outcome, now_s, self._random)
        return Standing(
            answers=self._answers[need.model],
            limits=self._limits[need.model],
            too_large_for=group.name if is_too_large else "",
            limited_for_s=group.paces[need.model].limited_for_s(now_s),
        )

    def _drop(self, state: KeyState, reason: str) -> list[LeaseRequest]:
        state.dropped, state.half_open = state.dropped or reason, None
        return self.queues.take_away(state)


def _reason(outcome: Outcome) -> str:
    head = " ".join(str(part) for part in (outcome.status, outcome.code) if part)
    told = outcome.message.rstrip().removesuffix(".")
    return ": ".join(part for part in (head, told) if part) or "refused"
