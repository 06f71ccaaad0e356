"""Stop batches at their provider, for whichever door."""

from __future__ import annotations

from dataclasses import replace

from ..core.records import OutcomeKind
from ..journal.batch_rows import BatchRecord, BatchStage
from ..journal.batch_store import BatchStore
from .options import Waiting
from .service import BatchService, ServiceRefusal
from .submit import find_made


async def cancel_batch(
    store: BatchStore, batch: BatchRecord, service: BatchService, waiting: Waiting
) -> BatchRecord | None:
    """Tell the provider to stop a batch, also one that was made just before a crash.

    That it is cancelled is noted before it is told. Lines that are answered are paid for, and the
    rest is not asked again.

    Returns the batch; None: there is none at the provider.

    Raises:
        ServiceRefusal, SendFault: it could not be told.
    """
    if batch.remote_id is None:
        found = await find_made(store, batch, service, waiting)
        if found is None:
            return None
        batch = found
    told = replace(batch.told, is_cancelled=True, status=batch.told.status or "cancelling")
    batch = store.move_on(batch, BatchStage.CREATED, told=told)
    try:
        status = (await service.cancel(batch.remote_id or "")).status
    except ServiceRefusal as refusal:
        if refusal.outcome.kind is not OutcomeKind.NOT_HERE:
            raise
        return batch
    return store.move_on(batch, BatchStage.CREATED, told=replace(told, status=status))
