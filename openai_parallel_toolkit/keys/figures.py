"""Tell how the keys stand: figures, and why something waits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..records import Need
from .slots import Block, Slot, Why


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

    def __str__(self) -> str:
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
        keys = "1 key" if self.keys == 1 else f"{self.keys} keys"
        return f"{keys}: {', '.join(states)} | {self.in_flight} in flight, {self.waiting} waiting"


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


def explain(slots: Iterable[Slot], need: Need, now_s: float) -> tuple[str, float | None]:
    """Return why no key serves `need` now, and the soonest time at which one may."""
    blocks = [(slot, blocked) for slot in slots if (blocked := slot.block(need, now_s))]
    soonest_s = min((b.until_s for _, b in blocks if b.until_s is not None), default=None)
    parts = [
        _part(why, [(slot, b) for slot, b in blocks if b.why is why], len(blocks))
        for why in Why
        if any(b.why is why for _, b in blocks)
    ]
    return "; ".join(parts), soonest_s


def _part(why: Why, blocks: list[tuple[Slot, Block]], total: int) -> str:
    text = f"{len(blocks)} of {total} keys {why.value}"
    timed = [(b.until_s, slot.key.name) for slot, b in blocks if b.until_s is not None]
    return f"{text} (soonest: {min(timed)[1]})" if timed else text
