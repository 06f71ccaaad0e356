"""How calls are collected into batches, and how long things are waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from ..core.clock import Clock
from ..core.settings import COUNT, SECONDS, check_settings, setting

Finish = Literal["batch", "live"]

#: Seconds in which what was just made comes to be seen everywhere at a provider.
BELIEVED_S = 30.0
#: Seconds in which a provider lists a batch that it has made. None of them says how late its list
#: may be; lists that lag behind do so by a second or two. Only who does not know whether a batch
#: was made waits, which is after a crash or a lost reply at just that step.
LISTED_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long is waited on the way to a provider and back, in seconds."""

    #: From one look at a batch to the next: at first, and at most.
    first_poll_s: float = 2.0
    longest_poll_s: float = 60.0
    #: From one refusal because too much is enqueued to the next attempt, for what cannot be made
    #: smaller: at first, and at most.
    first_limit_s: float = 30.0
    longest_limit_s: float = 600.0
    #: For how long a batch that was perhaps made, just before a crash or a lost reply, is looked
    #: for before it is made again: services may list it late.
    listed_within_s: float = LISTED_WITHIN_S
    #: For how long a file or batch that was just made is looked for when the service says that it
    #: is not there.
    believed_s: float = BELIEVED_S
    #: For how long what the service refuses in passing, or does not answer, is tried again.
    patience_s: float = 600.0
    #: Whether this holds for offering a batch too; else it is offered until it is taken.
    gives_up: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How everything that has to do with batches waits."""

    patience: Patience
    clock: Clock
    chance: Random = field(default_factory=Random)
    #: Waits so many seconds, or raises when the work is to stop.
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """How calls are collected into batches. Times are seconds.

    Raises:
        ConfigError: a value is impossible; names the field.
    """

    #: Source: https://platform.openai.com/docs/guides/batch, "up to 50,000 requests" (2026-11).
    max_lines: int = setting(COUNT, 50_000)
    #: Source: the same page, "up to 200 MB in size".
    max_bytes: int = setting(COUNT, 200_000_000)
    #: A batch that is not full leaves when its oldest line has waited so long, or when there is
    #: nothing else to do.
    max_age_s: float = setting(SECONDS, 600.0)
    #: How long to wait before a batch is looked at for the first time; then longer and longer.
    poll_s: float = setting(SECONDS, 5.0)
    longest_poll_s: float = setting(SECONDS, 60.0)
    #: As of `Patience`.
    listed_within_s: float = setting(SECONDS, LISTED_WITHIN_S)
    believed_s: float = setting(SECONDS, BELIEVED_S)
    #: The time that the provider may take for a batch.
    window: str = "24h"

    @property
    def patience(self) -> Patience:
        """The times of one batch."""
        return Patience(
            first_poll_s=self.poll_s,
            longest_poll_s=self.longest_poll_s,
            first_limit_s=self.longest_poll_s,
            longest_limit_s=self.longest_poll_s,
            listed_within_s=self.listed_within_s,
            believed_s=self.believed_s,
            gives_up=False,
        )

    def __post_init__(self) -> None:
        check_settings(self)
