"""The queue for one model, and the keys in the order in which they may serve it.

A key is in one place of a lane: among the resting (a heap, longest rest first), among the later
(a heap by the time when to look again), in the queue of its blocked group, or aside until something
happens to it. Entries are not taken out of heaps: `_entries` tells which one of a key is in force.
"""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict

from ..core.records import Need
from .lease_request import LeaseRequest
from .slots import Block, Group, KeyState

_Entry = tuple[float, int, KeyState]
_Timed = tuple[float, int, KeyState | Group]


class Lane:
    """Those who wait for one model, first come first served, and its keys."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.tickets: OrderedDict[int, LeaseRequest] = OrderedDict()
        #: How many keys can serve the model, now or later.
        self.usable = 0
        self._count = 0
        self._entries: dict[KeyState, int] = {}
        self._resting: list[_Entry] = []
        self._later: list[_Timed] = []
        self._in_groups: dict[Group, list[_Entry]] = {}
        self._timers: dict[Group, float] = {}
        #: Set back because a request was too large for them; and the largest such request.
        self._too_small: dict[KeyState | Group, None] = {}
        self._largest_tokens = 0

    @property
    def head(self) -> LeaseRequest:
        """The one whose turn it is."""
        return next(iter(self.tickets.values()))

    def offer(self, slot: KeyState) -> None:
        """Look at a key anew: it is new here, or something happened to it."""
        self._count += 1
        self._entries[slot] = self._count
        heapq.heappush(self._resting, (slot.order, self._count, slot))

    def changed(self, slot: KeyState) -> None:
        """Look at a key anew, and at its group, if a lease that came back can make a difference."""
        is_aside = slot not in self._entries or slot in self._too_small
        if is_aside and slot.can_ever_serve(self.model):
            self.offer(slot)
        if slot.group in self._in_groups:
            self._admit_next(slot.group)

    def forget(self, slot: KeyState) -> None:
        """Leave a key out from now on."""
        self._entries.pop(slot, None)
        self._admit_next(slot.group)

    def pick(self, need: Need, now_s: float) -> KeyState | None:
        """Return the key that has rested longest among those that may serve `need` now."""
        if need.tokens < self._largest_tokens:
            self._offer_too_small()
        self._wake(now_s)
        while self._resting:
            order, entry, slot = self._resting[0]
            if self._entries.get(slot) != entry:
                heapq.heappop(self._resting)
                continue
            if order != slot.order:
                heapq.heapreplace(self._resting, (slot.order, entry, slot))
                continue
            blocked = slot.block(need, now_s)
            if blocked is None:
                if slot.group in self._in_groups:
                    self._admit_next(slot.group)
                return slot
            heapq.heappop(self._resting)
            self._set_back(slot, entry, blocked, need)
        return None

    def next_s(self) -> float | None:
        """Return the clock time, seconds, when to pick again; None: only after a change."""
        while self._later:
            time_s, entry, what = self._later[0]
            if self._is_due_once(time_s, entry, what):
                return time_s
            heapq.heappop(self._later)
        return None

    def _set_back(self, slot: KeyState, entry: int, blocked: Block, need: Need) -> None:
        if blocked.by_size:
            self._too_small[slot.group if blocked.is_group else slot] = None
            self._largest_tokens = max(self._largest_tokens, need.tokens)
        if blocked.is_group:
            queue = self._in_groups.setdefault(slot.group, [])
            heapq.heappush(queue, (slot.order, entry, slot))
            if blocked.until_s is not None:
                self._set_timer(slot.group, blocked.until_s)
            return
        if blocked.until_s is None:
            del self._entries[slot]
        else:
            heapq.heappush(self._later, (blocked.until_s, entry, slot))
        self._admit_next(slot.group)

    def _set_timer(self, group: Group, until_s: float) -> None:
        if until_s < self._timers.get(group, math.inf):
            self._count += 1
            self._timers[group] = until_s
            heapq.heappush(self._later, (until_s, self._count, group))

    def _is_due_once(self, time_s: float, entry: int, what: KeyState | Group) -> bool:
        if isinstance(what, Group):
            return self._timers.get(what) == time_s
        return self._entries.get(what) == entry

    def _wake(self, now_s: float) -> None:
        while self._later and self._later[0][0] <= now_s:
            time_s, entry, what = heapq.heappop(self._later)
            if not self._is_due_once(time_s, entry, what):
                continue
            if isinstance(what, Group):
                del self._timers[what]
                self._admit_next(what)
            else:
                heapq.heappush(self._resting, (what.order, entry, what))

    def _admit_next(self, group: Group) -> None:
        """Move one key from the queue of its group to the resting: the next follows after it."""
        queue = self._in_groups.get(group, [])
        while queue:
            order, entry, slot = heapq.heappop(queue)
            if self._entries.get(slot) != entry:
                continue
            if order != slot.order:
                heapq.heappush(queue, (slot.order, entry, slot))
                continue
            heapq.heappush(self._resting, (order, entry, slot))
            break
        if not queue:
            self._in_groups.pop(group, None)

    def _offer_too_small(self) -> None:
        too_small, self._too_small, self._largest_tokens = self._too_small, {}, 0
        for what in too_small:
            if isinstance(what, Group):
                self._admit_next(what)
            elif what in self._entries:
                self.offer(what)
