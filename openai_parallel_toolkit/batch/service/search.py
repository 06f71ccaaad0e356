"""Find a batch that may have been made although nobody here was told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing

from .client import BatchService
from .objects import RemoteBatch

#: The name in a batch's metadata under which its token stands.
MARK = "openai_parallel_toolkit"
#: Seconds in which a provider lists a batch that it has made. None of them says how late its list
#: may be; lists that lag behind do so by a second or two. Only who does not know whether a batch
#: was made waits, which is after a crash or a lost reply at just that step.
LISTED_WITHIN_S = 10.0
#: Clocks differ; a batch may seem older than what made it.
_CLOCK_SLACK_S = 86_400.0
_FIRST_PAUSE_S = 1.0


async def find_batch(
    service: BatchService, token: str, file_id: str | None, *, since_wall_s: float
) -> RemoteBatch | None:
    """Return the batch that carries a token; None: none is listed.

    Where the service keeps no metadata, it is known by its file, unless it has failed.

    Args:
        file_id: of its input; None: not known.
        since_wall_s: seconds since 1970; it was made no earlier.
    """
    async with aclosing(service.batches()) as batches:
        async for batch in batches:
            if 0 < batch.created_wall_s < since_wall_s - _CLOCK_SLACK_S:
                return None
            if batch.metadata.get(MARK) == token:
                return batch
            is_nameless = MARK not in batch.metadata and batch.status != "failed"
            if is_nameless and batch.input_file_id == file_id:
                return batch
    return None


async def look_until_listed(
    look: Callable[[], Awaitable[RemoteBatch | None]],
    *,
    within_s: float,
    pause: Callable[[float], Awaitable[None]],
) -> RemoteBatch | None:
    """Look for a batch again and again; None: it is not listed after `within_s` seconds either."""
    waited_s, pause_s = 0.0, _FIRST_PAUSE_S
    while (found := await look()) is None and waited_s < within_s:
        pause_s = min(pause_s, within_s - waited_s)
        await pause(pause_s)
        waited_s += pause_s
        pause_s *= 2
    return found
