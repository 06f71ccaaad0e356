"""Take batches in and lead each through its life."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..environment import Environment
from .batch import EnqueuedTokens, SimBatch
from .file_store import FileStore
from .lifecycle import BatchLifecycle


class SimBatchService:
    """Runs batches in the event loop; any thread may read the list of them."""

    def __init__(self, environment: Environment, files: FileStore) -> None:
        self._environment = environment
        self._lifecycle = BatchLifecycle(environment, files)
        self._batches: dict[str, SimBatch] = {}

    def create(self, **facts: Any) -> SimBatch:
        """Take in a batch, whose `facts` are what was asked for, and begin with it."""
        controls, created_s = self._environment.batch_controls, self._environment.now_s()
        course = controls.take_course()
        batch = SimBatch(
            id=f"batch_{self._environment.seed & 0xFFFFFFFF:08x}{len(self._batches) + 1:024x}",
            course=course,
            seconds=controls.seconds if course.seconds is None else course.seconds,
            created_s=created_s,
            expires_s=created_s + controls.window_s,
            **facts,
        )
        self._batches[batch.id] = batch
        self._go_on(batch, self._lifecycle.lead(batch))
        return batch

    def cancel(self, batch: SimBatch) -> None:
        """Let a batch that is not over answer no further line."""
        if batch.status != "cancelling":
            batch.enter("cancelling", self._environment.now_s())

    def find(self, batch_id: str, key: str) -> SimBatch | None:
        """Return a key's batch; None: the key has none of this id."""
        batch = self._batches.get(batch_id)
        return batch if batch is not None and batch.key == key else None

    def batches(self, key: str | None = None) -> list[SimBatch]:
        """Return batches, oldest first; a key of None means all keys."""
        return [batch for batch in list(self._batches.values()) if key in (None, batch.key)]

    def listed(self, key: str) -> list[SimBatch]:
        """Return those of a key's batches that are listed, oldest first."""
        since_s = self._environment.now_s() - self._environment.batch_controls.listed_after_s
        return [batch for batch in self.batches(key) if batch.created_s <= since_s]

    def statuses(self) -> dict[str, int]:
        """Return how many batches have each status."""
        return dict(Counter(batch.status for batch in self.batches()))

    def enqueued(self) -> dict[str, dict[str, EnqueuedTokens]]:
        """Return the enqueued tokens of each model, by name of the key; any thread may ask."""
        shown: dict[str, dict[str, EnqueuedTokens]] = {}
        for (key, model), count in self._lifecycle.enqueued.copy().items():
            shown.setdefault(key, {})[model] = replace(count)
        return shown

    def reset(self) -> None:
        """Forget all batches."""
        self._batches.clear()
        self._lifecycle.enqueued.clear()

    def _go_on(self, batch: SimBatch, life: Iterator[float]) -> None:
        if self._batches.get(batch.id) is not batch:
            return  # forgotten
        delay_s = next(life, None)
        if delay_s is not None:
            self._environment.later(delay_s, lambda: self._go_on(batch, life))
