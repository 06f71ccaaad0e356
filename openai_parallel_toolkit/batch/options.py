"""How calls are collected into batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..core.settings import COUNT, SECONDS, check_settings, setting
from .service import LISTED_WITHIN_S

Finish = Literal["batch", "live"]


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
    #: The time that the provider may take for a batch.
    window: str = "24h"

    def __post_init__(self) -> None:
        check_settings(self)
