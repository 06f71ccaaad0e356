"""Tell how the keys stand: figures, and why something waits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..core.records import Need
from ..core.text import counted
from .slots import BlockReason, KeyState


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
    on_trial: int = 0
    dropped: int = 0
    #: Requests that hold a lease.
    in_flight: int = 0
    #: Requests that wait for one.
    waiting: int = 0

    @property
    def keys(self) -> int:
        return self.alive + self.cooling + self.on_trial + self.dropped

    @property
    def states(self) -> str:
        """For people, for example "3 alive, 1 cooling"."""
        states = [
            f"{number} {state}"
            for number, state in (
                (self.alive, "alive"),
                (self.cooling, "cooling"),
                (self.on_trial, "on trial"),
                (self.dropped, "dropped"),
            )
            if number or state == "alive"
        ]
        return ", ".join(states)

    def __str__(self) -> str:
        keys = counted(self.keys, "key")
        return f"{keys}: {self.states} | {self.in_flight} in flight, {self.waiting} waiting"


def count(states: Iterable[str], *, in_flight: int, waiting: int) -> Counts:
    """Count keys by state."""
    numbers = {"alive": 0, "cooling": 0, "on trial": 0, "dropped": 0}
    for state in states:
        numbers[state] += 1
    return Counts(
        alive=numbers["alive"],
        cooling=numbers["cooling"],
        on_trial=numbers["on trial"],
        dropped=numbers["dropped"],
        in_flight=in_flight,
        waiting=waiting,
    )


def explain(slots: Sequence[KeyState], need: Need, now_s: float) -> tuple[str, float | None]:
    """Return why no key serves `need` now, and the clock time, seconds, when the first may."""
    blocked: dict[BlockReason, list[KeyState]] = {}
    for slot in slots:
        block = slot.block(need, now_s)
        if block is not None:
            blocked.setdefault(block.why, []).append(slot)
    times = {slot: at_s for slot in slots if (at_s := slot.ready_s(need, now_s)) is not None}
    parts = [
        _part(why, blocked[why], times, of=len(slots)) for why in BlockReason if why in blocked
    ]
    return "; ".join(parts), min(times.values(), default=None)


def _part(
    why: BlockReason, slots: Sequence[KeyState], times: Mapping[KeyState, float], *, of: int
) -> str:
    text = f"{len(slots)} of {of} keys {why.value}"
    timed = [slot for slot in slots if slot in times]
    if not timed:
        return text
    return f"{text} (soonest: {min(timed, key=times.__getitem__).key.name})"
