"""Those who wait for a key for one model, and which keys need no second look for them.

Those whom a key has refused wait for another one in a queue of their own.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable

from ..core.records import Lease, Need
from .key_state import Group, KeyState


class LeaseRequest:
    """What became of a request for a lease: `lease` or `error` is set, or it still waits."""

    __slots__ = ("_withdraw", "error", "lease", "need", "number", "on_ready")

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
    """Those who wait for one model, first come first served.

    While somebody waits, each key is noted as blocked, itself or with its group, until the time
    when it is worth a look again. So a look at 1,000 keys is short, and most looks are at one.
    """

    def __init__(self, need: Need, resting: Iterable[KeyState]) -> None:
        """`resting` are the keys in use, those that have rested longest first."""
        self.model = need.model
        #: Name of the key that refused them; "": none.
        self.avoid = need.avoid
        self.requests: OrderedDict[int, LeaseRequest] = OrderedDict()
        #: Clock time, seconds, before which no blocked key is worth a look.
        self.next_s = math.inf
        self._resting = resting
        self._blocked: dict[KeyState | Group, float] = {}
        #: Those blocked because a request was too large for them, and the largest such request.
        self._too_small: set[KeyState | Group] = set()
        self._largest_tokens = 0

    @property
    def head(self) -> LeaseRequest:
        """The one whose turn it is."""
        return next(iter(self.requests.values()))

    def pick(self, need: Need, states: Iterable[KeyState] | None, now_s: float) -> KeyState | None:
        """Return the key that may serve `need` now and has rested longest; None: there is none.

        Args:
            states: only these can have become free; None: look at all.
        """
        if need.tokens < self._largest_tokens:
            self._look_anew(self._too_small)
            states = None
        blocked = self._blocked
        for state in self._resting if states is None else states:
            # There are three cases:
            # 1. The key or its group was found blocked, and nothing has happened since: pass over.
            if blocked.get(state, 0.0) > now_s or blocked.get(state.group, 0.0) > now_s:
                continue
            # 2. Nothing blocks it: this is the one.
            block = state.block(need, now_s)
            if block is None:
                return state
            # 3. It is blocked: note until when, for all keys of its group where that is why.
            what = state.group if block.is_group else state
            blocked[what] = block.until_s
            self.next_s = min(self.next_s, block.until_s)
            if block.by_size:
                self._too_small.add(what)
                self._largest_tokens = max(self._largest_tokens, need.tokens)
        return None

    def changed(self, state: KeyState) -> bool:
        """Look at a key and its group anew next time; return whether the group was blocked."""
        if not self._blocked:
            return False
        self._blocked.pop(state, None)
        return self._blocked.pop(state.group, None) is not None

    def take_due(self, now_s: float) -> set[KeyState | Group]:
        """Return the keys and groups that are worth a look now."""
        due = {what for what, until_s in self._blocked.items() if until_s <= now_s}
        self._look_anew(due)
        self.next_s = min(self._blocked.values(), default=math.inf)
        return due

    def _look_anew(self, some: set[KeyState | Group]) -> None:
        for what in some:
            self._blocked.pop(what, None)
        if some is self._too_small:
            self._too_small, self._largest_tokens = set(), 0
