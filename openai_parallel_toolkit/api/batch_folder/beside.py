"""Do blocking work beside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from ...core.filesystem import storage_error

_Made = TypeVar("_Made")


async def in_thread(act: Callable[..., _Made], *arguments: object) -> _Made:
    """Do blocking work beside the loop.

    Raises:
        StorageError: the disk refused.
    """
    try:
        return await asyncio.to_thread(act, *arguments)
    except OSError as exc:
        raise storage_error(exc, str(exc.filename or "")) from exc
