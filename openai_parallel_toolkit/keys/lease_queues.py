"""Give requests their leases: at once, or in their turn. Bookkeeping without locks or clocks.

Every method that can serve or fail those who wait returns their requests; the manager wakes them.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence

from ..core.errors import NoUsableKey, RequestRejected
from ..core.records import Lease, Need, OutcomeKind
from ..core.text import brief, counted
from .key_state import KeyState
from .model_queue import Lane, LeaseRequest, ModelQueue, Reserved
from .pace import Group

_REASONS_SHOWN = 20


class LeaseQueues:
    """What is lent, and who waits for which model."""

    def __init__(self, api_base: str, states: Mapping[str, KeyState]) -> None:
        """`states` are all keys by name, dropped ones as well; whoever owns them changes them."""
        self.states = states
        self.lent: dict[int, tuple[Lease, KeyState]] = {}
        self.last_id = 0
        #: The queues in which somebody waits.
        self.waiting: dict[ModelQueue, None] = {}
        self._api_base = api_base
        self._queues: dict[Lane, ModelQueue] = {}
        #: Those that are not dropped; who has rested longest comes first.
        self._resting: dict[KeyState, None] = {}
        self._last_number = 0

    @property
    def requests(self) -> list[LeaseRequest]:
        """Those who wait."""
        return [request for queue in self.waiting for request in queue.requests.values()]

    @property
    def first(self) -> LeaseRequest | None:
        """The one that has waited longest."""
        heads = (queue.head for queue in self.waiting)
        return min(heads, key=lambda request: request.number, default=None)

    def offer(self, state: KeyState, now_s: float) -> list[LeaseRequest]:
        """Lend a key from now on."""
        self._resting.setdefault(state)
        return self.serve_changed([state], now_s)

    def take_away(self, state: KeyState) -> list[LeaseRequest]:
        """Lend a key no more."""
        self._resting.pop(state, None)
        return self.fail_hopeless()

    def put_last(self, state: KeyState) -> None:
        """Have the other keys lent before this one."""
        if self._resting.pop(state, 0) is None:
            self._resting[state] = None

    def ask(self, request: LeaseRequest, now_s: float) -> list[LeaseRequest]:
        """Serve a request, fail it, or queue it; return others that were served meanwhile."""
        served = self.advance(now_s) if self.waiting and self.next_s() <= now_s else []
        need = request.need
        if need.not_before_s:  # it holds up nobody
            self._last_number += 1
            request.lane = (need.model, need.avoid, -self._last_number)
        queue = self._queues.get(request.lane)
        if queue is None:
            queue = self._queues[request.lane] = ModelQueue(need.model, self._resting)
        if not queue.requests:
            reserved = self._reserved(now_s) if self.waiting else ()
            state = queue.pick(need, None, now_s, reserved)
            if state is not None:
                self._grant(request, state, now_s)
                return served
        if not self.can_ever_serve(need):
            request.error = self._hopeless(need)
            return served
        self._last_number += 1
        request.number, request.asked_s = self._last_number, now_s
        queue.requests[request.number] = request
        self.waiting[queue] = None
        return served

    def withdraw(
        self, request: LeaseRequest, error: BaseException, now_s: float
    ) -> list[LeaseRequest]:
        """Take a request that may still wait out of its queue."""
        if request.error is not None:
            return []
        kept_back = self._queues[request.lane].reserved(now_s)
        self.fail([request], error)
        return [request, *self._serve(None if kept_back else (), now_s)]

    def advance(self, now_s: float) -> list[LeaseRequest]:
        """Serve what can be served by now."""
        due = {what for queue in self.waiting for what in queue.take_due(now_s)}
        states = [state for state in self._resting if state in due or state.group in due]
        return self._serve(states, now_s)

    def next_s(self) -> float:
        """Return the clock time, seconds, to advance at; inf: only a change can help."""
        return min((queue.next_s for queue in self.waiting), default=math.inf)

    def serve_changed(self, changed: Sequence[KeyState], now_s: float) -> list[LeaseRequest]:
        """Serve with keys to which something happened, and with their groups if these blocked."""
        groups: set[Group] = set()
        for queue in self._queues.values():
            if queue.blocked:
                groups.update(state.group for state in changed if queue.changed(state))
        if not self.waiting:
            return []
        if not groups:
            return self._serve([state for state in changed if state in self._resting], now_s)
        states = {*changed, *(one for one in self._resting if one.group in groups)}
        return self._serve([one for one in self._resting if one in states], now_s)

    def fail(self, requests: Sequence[LeaseRequest], error: BaseException) -> None:
        """Fail some who wait."""
        for request in requests:
            request.error = error
            self._dequeue(request)

    def fail_hopeless(self) -> list[LeaseRequest]:
        """Fail those whom no key can serve any more."""
        failed = [one for one in self.requests if not self.can_ever_serve(one.need)]
        for request in failed:
            self.fail([request], self._hopeless(request.need))
        return failed

    def can_ever_serve(self, need: Need) -> bool:
        """Return whether any key may serve `need`, now or later."""
        return any(state.can_ever_serve(need) for state in self._resting)

    def lease(self, state: KeyState, need: Need, now_s: float) -> Lease:
        """Return what looks like a lease; it is not counted as lent."""
        key = state.key
        self.last_id += 1
        base = key.api_base or self._api_base
        azure = (key.azure_deployment, key.api_version)
        return Lease(self.last_id, key.name, key.secret, base, need, now_s, *azure)

    def lent_after(self, lease: Lease, group: Group) -> tuple[int, int]:
        """Return what is under way and was lent later by a group: requests and their tokens."""
        later = [
            one.need.tokens
            for one, state in self.lent.values()
            if one.id > lease.id and state.group is group and one.need.model == lease.need.model
        ]
        return len(later), sum(later)

    def _grant(self, request: LeaseRequest, state: KeyState, now_s: float) -> None:
        state.lend(request.need, now_s)
        del self._resting[state]
        self._resting[state] = None
        request.lease = lease = self.lease(state, request.need, now_s)
        self.lent[lease.id] = (lease, state)
        circuit = state.circuit
        circuit.in_flight += 1
        if not circuit.is_well:
            circuit.lent(lease)

    def _serve(self, states: Iterable[KeyState] | None, now_s: float) -> list[LeaseRequest]:
        """Serve those who wait with `states`, which may have become free; None: with any.

        The longest waiting goes first. One that cannot be served holds up those of its size, and
        after a while also smaller ones, from what it waits for.
        """
        served = []
        turns = [(queue.head.number, queue) for queue in self.waiting]
        heapq.heapify(turns)
        reserved: set[object] = set()
        while turns:
            queue = turns[0][1]
            request = queue.head
            state = queue.pick(request.need, states, now_s, reserved)  # type: ignore[arg-type]
            if state is None:
                reserved.update(queue.reserved(now_s))
                heapq.heappop(turns)
                continue
            self._dequeue(request)
            self._grant(request, state, now_s)
            served.append(request)
            if queue.requests:
                heapq.heapreplace(turns, (queue.head.number, queue))
            else:
                heapq.heappop(turns)
        return served

    def _reserved(self, now_s: float) -> Reserved:
        return {what for queue in self.waiting for what in queue.reserved(now_s)}

    def _dequeue(self, request: LeaseRequest) -> None:
        queue = self._queues[request.lane]
        del queue.requests[request.number]
        if not queue.requests:
            del self.waiting[queue]
            if request.need.not_before_s:
                del self._queues[request.lane]

    def _hopeless(self, need: Need) -> NoUsableKey | RequestRejected:
        """Return why no key can ever serve `need`."""
        if self.can_ever_serve(Need(model=need.model, tokens=0, avoid=need.avoid)):
            return _too_large(need)
        return self._no_usable_key(need.model)

    def _no_usable_key(self, model: str) -> NoUsableKey:
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


def _too_large(need: Need) -> RequestRejected:
    words = list(need.too_large_for.values()) or [
        f"{counted(need.least_tokens, 'token')} and the keys' tpm are less"
    ]
    return RequestRejected(
        f"request is too large for the limit of every key: {words[-1].rstrip('.')}; "
        "split it, lower its max_tokens or raise the limit (tpm)",
        outcome=OutcomeKind.REJECTED,
        code="too_large",
        attempts=len(need.too_large_for),
    )
