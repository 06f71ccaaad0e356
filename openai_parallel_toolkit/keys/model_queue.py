"""Those who wait for a key for one model, and which keys need no second look for them.

Those whom a key has refused wait for another one in a queue of their own.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable

from ..core.records import Lease, Need
from .key_state import KeyState
from .pace import BlockReason, Group

#: What one who has waited long is to get next, and nobody behind it: a key, or a group for a model.
Reserved = Collection["KeyState | tuple[Group, str]"]

#: Which queue one is in: those of a model that avoid the same key and are about as large share one.
Lane = tuple[str, str, int]

#: Seconds for which smaller requests may pass a larger one for which there is too little left.
_PASSED_S = 10.0
#: An allowance that is fuller only later than this is not kept back for anybody.
_LONGEST_RESERVATION_S = 65.0


class LeaseRequest:
    """What became of a request for a lease: `lease` or `error` is set, or it still waits."""

    __slots__ = ("_withdraw", "asked_s", "error", "lane", "lease", "need", "number", "on_ready")

    def __init__(
        self,
        need: Need,
        on_ready: Callable[[], None],
        withdraw: Callable[[LeaseRequest, BaseException], None],
    ) -> None:
        self.need = need
        self.on_ready = on_ready
        #: The smallest has waited longest.
        self.number = 0
        #: Clock time, seconds, when it began to wait.
        self.asked_s = 0.0
        self.lane: Lane = (need.model, need.avoid, need.tokens.bit_length() // 2)
        self.lease: Lease | None = None
        self.error: BaseException | None = None
        self._withdraw = withdraw

    @property
    def is_waiting(self) -> bool:
        return self.lease is None and self.error is None

    def withdraw(self, error: BaseException) -> None:
        """Want it no more: it fails with `error`, and a lease it was given goes back unused.

        Only for a lease that was not used and will not be. Calls `on_ready` if it still waited.
        """
        self._withdraw(self, error)


class ModelQueue:
    """Those who wait for one model with about as much to ask, first come first served.

    While somebody waits, each key is noted as blocked, itself or with its group, until the time
    when it is worth a look again. So a look at 1,000 keys is short, and most looks are at one.
    """

    def __init__(self, model: str, resting: Iterable[KeyState]) -> None:
        """`resting` are the keys in use, those that have rested longest first."""
        self.model = model
        self.requests: OrderedDict[int, LeaseRequest] = OrderedDict()
        #: Clock time, seconds, before which no blocked key is worth a look.
        self.next_s = math.inf
        self._resting = resting
        self.blocked: dict[KeyState | Group, float] = {}
        #: Those blocked because a request was too large for them, and the largest such request.
        self._too_small: set[KeyState | Group] = set()
        self._largest_tokens = 0

    @property
    def head(self) -> LeaseRequest:
        """The one whose turn it is."""
        return next(iter(self.requests.values()))

    def pick(
        self,
        need: Need,
        states: Iterable[KeyState] | None,
        now_s: float,
        reserved: Reserved = (),
    ) -> KeyState | None:
        """Return the key that may serve `need` now and has rested longest; None: there is none.

        Args:
            states: only these can have become free; None: look at all.
            reserved: none of these.
        """
        if need.tokens < self._largest_tokens:
            self._look_anew(self._too_small)
            states = None
        blocked = self.blocked
        for state in self._resting if states is None else states:
            # There are three cases:
            # 1. The key or its group was found blocked, and nothing has happened since: pass over.
            if blocked and max(blocked.get(state, 0.0), blocked.get(state.group, 0.0)) > now_s:
                continue
            if reserved and (state in reserved or (state.group, self.model) in reserved):
                continue
            # 2. Nothing blocks it: this is the one.
            block = state.block(need, now_s)
            if block is None:
                return state
            # 3. It is blocked: note until when, for all keys of its group where that is why.
            if block.reason is BlockReason.TOO_SMALL:
                continue  # for this one, not for those behind it
            what = state.group if block.is_group else state
            blocked[what] = block.until_s
            self.next_s = min(self.next_s, block.until_s)
            if block.by_size:
                self._too_small.add(what)
                self._largest_tokens = max(self._largest_tokens, need.tokens)
        return None

    def reserved(self, now_s: float) -> Reserved:
        """Return what the one whose turn it is waits for, if it has been passed for long."""
        if now_s - self.head.asked_s < _PASSED_S:
            return ()
        latest_s = now_s + _LONGEST_RESERVATION_S
        soon = [what for what in self._too_small if self.blocked.get(what, math.inf) <= latest_s]
        return {(what, self.model) if isinstance(what, Group) else what for what in soon}

    def changed(self, state: KeyState) -> bool:
        """Look at a key and its group anew next time; return whether the group was blocked."""
        self.blocked.pop(state, None)
        return self.blocked.pop(state.group, None) is not None

    def take_due(self, now_s: float) -> set[KeyState | Group]:
        """Return the keys and groups that are worth a look now."""
        due = {what for what, until_s in self.blocked.items() if until_s <= now_s}
        self._look_anew(due)
        self.next_s = min(self.blocked.values(), default=math.inf)
        return due

    def _look_anew(self, some: set[KeyState | Group]) -> None:
        for what in some:
            self.blocked.pop(what, None)
        if some is self._too_small:
            self._too_small, self._largest_tokens = set(), 0
