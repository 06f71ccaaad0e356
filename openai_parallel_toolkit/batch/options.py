"""How calls are collected into batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..core.settings import COUNT, SECONDS, check_settings, setting
from .service import BELIEVED_S, LISTED_WITHIN_S

Finish = Literal["batch", "live"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long is waited on the way to a provider and back, seconds."""

    #: From one look at a batch to the next: at first, and at most.
    poll_s: float
    longest_poll_s: float
    #: For how long a batch that was perhaps made is looked for.
    listed_within_s: float = LISTED_WITHIN_S
    #: For how long is looked for what was just made and is said not to be there.
    believed_s: float = BELIEVED_S
    #: For how long what may be repeated is repeated.
    retry_s: float = 600.0
    #: For how long a batch is offered to a service that is busy or away; None: until it works.
    submit_s: float | None = None
    #: How long waits what cannot be made smaller and was refused for its tokens: at first, and at
    #: most.
    full_s: float = 60.0
    longest_full_s: float = 60.0


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
    #: For how long a batch that was perhaps made, just before a crash or a lost reply, is looked
    #: for before it is made again: providers may list it late.
    listed_within_s: float = setting(SECONDS, LISTED_WITHIN_S)
    #: For how long a file or batch that was just made is looked for when the provider says that it
    #: is not there.
    believed_s: float = setting(SECONDS, BELIEVED_S)
    #: The time that the provider may take for a batch.
    window: str = "24h"

    @property
    def patience(self) -> Patience:
        """The times of one batch."""
        return Patience(
            poll_s=self.poll_s,
            longest_poll_s=self.longest_poll_s,
            listed_within_s=self.listed_within_s,
            believed_s=self.believed_s,
            full_s=self.longest_poll_s,
            longest_full_s=self.longest_poll_s,
        )

    def __post_init__(self) -> None:
        check_settings(self)
