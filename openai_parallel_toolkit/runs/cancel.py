"""Cancel what a folder has running in batches, and keep what was answered until then."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from ..batch import BatchOptions, BatchScheduler
from ..calls.attempts import Policy
from ..core.clock import Clock
from ..costs.figures import Figures
from ..keys import APIKeyManager
from .session import RunSession

_TICK_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """What cancelling came to."""

    batches: int
    #: Calls in them.
    sent: int
    #: What was answered, and is kept, before the end.
    calls: Figures
    #: Batches that could not be cancelled.
    left: int


def cancel_batches(
    state_folder: str,
    keys: APIKeyManager,
    *,
    options: BatchOptions,
    clock: Clock,
    look: Callable[[str], None],
) -> Cancelled:
    """Cancel all batches that a folder has at the provider and wait until they are over.

    Args:
        look: called a few times a second, with what is waited for in words.

    Raises:
        RunLocked: a run is on.
        ToolkitError: the disk, the journal or the keys refused.
    """
    with RunSession(state_folder, keys, clock=clock, policy=Policy(max_retries=0)) as session:
        session.begin("")
        context, store = session.context, session.journal.batches
        before = store.batch_counts()
        scheduler = BatchScheduler(
            journal=session.journal,
            keys=keys,
            context=context,
            options=options,
            folder=os.path.join(state_folder, "batches"),
            clock=clock,
            cancels=True,
        )
        scheduler.start()
        try:
            scheduler.flush()
            while not scheduler.is_settled() and context.stop.reason is None:
                scheduler.changed.wait(_TICK_S)
                scheduler.changed.clear()
                look(scheduler.words())
        finally:
            scheduler.close(grace_s=_TICK_S)
        if context.stop.reason is not None:
            raise context.stop.reason
        after = store.batch_counts()
        session.journal.end_run("cancelled batches", {})
    return Cancelled(
        batches=before.batches - after.batches,
        sent=before.in_batches - after.in_batches,
        calls=context.tally.figures(),
        left=after.batches,
    )
