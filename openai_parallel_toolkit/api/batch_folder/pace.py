"""How often is looked, how long is waited, and what ends every wait."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ...batch.options import Patience
from ...batch.service import BELIEVED_S, LISTED_WITHIN_S
from ...core.errors import RunStopping


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Times of a BatchFolder, in seconds."""

    #: From one look at a batch to the next: at first, and at most.
    first_poll_s: float = 2.0
    longest_poll_s: float = 60.0
    #: From one refusal because too much is enqueued to the next attempt: at first, and at most.
    first_limit_s: float = 30.0
    longest_limit_s: float = 600.0
    #: From one look at the input folder to the next, in continuous mode.
    look_s: float = 60.0
    #: From one look to the next while a new file may still be growing.
    settle_s: float = 5.0
    #: For how long a batch that was perhaps made, just before a crash or a lost reply, is looked
    #: for before it is made again: services may list it late.
    listed_within_s: float = LISTED_WITHIN_S
    #: For how long a file or batch that was just made is looked for when the service says that it
    #: is not there.
    believed_s: float = BELIEVED_S
    #: For how long what the service refuses in passing, or does not answer, is tried again.
    patience_s: float = 600.0
    #: What a step that is under way gets when the run is stopped.
    grace_s: float = 30.0

    @property
    def patience(self) -> Patience:
        """The times of one batch."""
        return Patience(
            poll_s=self.first_poll_s,
            longest_poll_s=self.longest_poll_s,
            listed_within_s=self.listed_within_s,
            believed_s=self.believed_s,
            retry_s=self.patience_s,
            submit_s=self.patience_s,
            full_s=self.first_limit_s,
            longest_full_s=self.longest_limit_s,
        )


class Stop:
    """Ends the waits of one event loop when the run is to stop."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()

    @property
    def is_asked(self) -> bool:
        """Whether the run is to stop."""
        return self._asked.is_set()

    def ask(self) -> None:
        """End all waits, now and from now on; call it on the loop."""
        self._asked.set()

    async def wait(self) -> None:
        """Wait until the run is to stop."""
        await self._asked.wait()

    def check(self) -> None:
        """Raise RunStopping when the run is to stop."""
        if self.is_asked:
            raise RunStopping

    async def pause(self, seconds: float) -> None:
        """Wait.

        Raises:
            RunStopping: the run is to stop.
        """
        try:
            await asyncio.wait_for(self._asked.wait(), seconds)
        except asyncio.TimeoutError:
            return
        raise RunStopping
