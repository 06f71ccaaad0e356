"""How the keys stand and why requests wait for them, in figures and in words. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ..core.records import Need
from ..core.text import counted
from .key_state import KeyState
from .pace import BlockReason

_MOST_WORDS_CHARS = 150


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
    #: Requests that were answered so far, and the seconds that they took, all together.
    answers: int = 0
    answer_s: float = 0.0

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


def count_keys(states: Iterable[KeyState], in_flight: int, waiting: int, now_s: float) -> Counts:
    """Return how many keys stand how."""
    numbers = Counter(state.status(now_s).state for state in states)
    return Counts(
        alive=numbers["alive"],
        cooling=numbers["cooling"],
        half_open=numbers["on trial"],
        dropped=numbers["dropped"],
        in_flight=in_flight,
        waiting=waiting,
    )


def why_waiting(states: Iterable[KeyState], need: Need, waiting: int, now_s: float) -> Wait:
    """Return why no key serves `need` now, and until when."""
    states = list(states)
    of = len(states)
    blocked: dict[BlockReason, list[tuple[float, str]]] = {}
    soonest_s = math.inf
    for state in states:
        block, at_s = state.block(need, now_s), state.ready_s(need, now_s)
        soonest_s = min(soonest_s, at_s)
        if block is not None:
            outage = state.circuit.outage(now_s) if block.reason is BlockReason.OUTAGE else None
            said = f': "{block.words[:_MOST_WORDS_CHARS]}"' if block.words else ""
            about = f" (soonest: {state.key.name})" if at_s < math.inf else ""
            about = about + said if outage is None else f": {outage}"
            blocked.setdefault(block.reason, []).append((at_s, about))
    parts = []
    for reason in BlockReason:
        if reason in blocked:
            at_s, about = min(blocked[reason], key=lambda one: one[0])
            parts.append((at_s, f"{len(blocked[reason])} of {of} keys {reason.value}{about}"))
    parts.sort(key=lambda part: part[0])  # first what ends first
    return Wait(
        count=waiting,
        until_s=soonest_s if soonest_s < math.inf else None,
        reason="; ".join(words for _, words in parts),
    )
