"""Take batches in and lead each through its life."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from ..keys import Account
from .batch import Batch, EnqueuedTokens, TokenQueue
from .cabinet import FileCabinet, StoredFile
from .clerk import LineClerk
from .course import BatchLimits, Steering
from .life import BatchLife

#: Runs an action after so many seconds, in the event loop's thread.
Later = Callable[[float, Callable[[], None]], None]


class BatchOffice:
    """Runs batches in the event loop. `_lock` guards the list of them, which any thread may read.

    Args:
        seed: of the ids, and of the order in which lines are answered.
        now_s: seconds since 1970.
        later: how a batch gets its next turn.
    """

    def __init__(
        self,
        *,
        cabinet: FileCabinet,
        clerk: LineClerk,
        steering: Steering,
        limits: BatchLimits,
        seed: int,
        now_s: Callable[[], float],
        later: Later,
    ) -> None:
        self._lock = threading.Lock()
        self._queue = TokenQueue()
        self._life = BatchLife(
            cabinet=cabinet,
            clerk=clerk,
            queue=self._queue,
            steering=steering,
            limits=limits,
            seed=seed,
            now_s=now_s,
        )
        self._steering = steering
        self._seed = seed
        self._now_s = now_s
        self._later = later
        self._batches: dict[str, Batch] = {}

    def create(
        self,
        account: Account,
        input_file: StoredFile,
        *,
        endpoint: str,
        metadata: Mapping[str, str],
        output_lifetime_s: float | None,
        is_azure: bool,
    ) -> Batch:
        """Take in a batch and begin with it."""
        course, created_s = self._steering.take_course(), self._now_s()
        with self._lock:
            batch = Batch(
                id=f"batch_{self._seed & 0xFFFFFFFF:08x}{len(self._batches) + 1:024x}",
                account=account,
                is_azure=is_azure,
                endpoint=endpoint,
                input_file=input_file,
                metadata=metadata,
                course=course,
                seconds=self._steering.seconds if course.seconds is None else course.seconds,
                created_s=created_s,
                expires_s=created_s + self._steering.window_s,
                output_lifetime_s=output_lifetime_s,
            )
            self._batches[batch.id] = batch
        self._go_on(batch, self._life.lead(batch))
        return batch

    def cancel(self, batch: Batch) -> None:
        """Let a batch that is not over answer no further line."""
        if batch.status != "cancelling":
            batch.enter("cancelling", self._now_s())

    def find(self, batch_id: str, key: str) -> Batch | None:
        """Return a key's batch; None: the key has none of this id."""
        with self._lock:
            batch = self._batches.get(batch_id)
        return batch if batch is not None and batch.key == key else None

    def batches(self, key: str | None = None) -> list[Batch]:
        """Return batches, oldest first; a key of None means all keys."""
        with self._lock:
            return [batch for batch in self._batches.values() if key in (None, batch.key)]

    def listed(self, key: str) -> list[Batch]:
        """Return those of a key's batches that are listed, oldest first."""
        since_s = self._now_s() - self._steering.listed_after_s
        return [batch for batch in self.batches(key) if batch.created_s <= since_s]

    def statuses(self) -> dict[str, int]:
        """Return how many batches have each status."""
        return dict(Counter(batch.status for batch in self.batches()))

    def enqueued(self) -> dict[str, dict[str, EnqueuedTokens]]:
        """Return the enqueued tokens of each model, by name of the key."""
        return self._queue.counts()

    def reset(self) -> None:
        """Forget all batches."""
        with self._lock:
            self._batches.clear()
        self._queue.reset()

    def _go_on(self, batch: Batch, life: Iterator[float]) -> None:
        with self._lock:
            if self._batches.get(batch.id) is not batch:
                return  # forgotten
        delay_s = next(life, None)
        if delay_s is not None:
            self._later(delay_s, lambda: self._go_on(batch, life))
