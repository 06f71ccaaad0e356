"""Tell how the keys of a manager stand."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from ..core.clock import Clock
from ..core.records import KeyStatus
from .figures import Counts, Wait, count, explain
from .pool import Pool


class Readings:
    """What can be asked of a manager; its lock guards the pool."""

    _lock: threading.Lock
    _pool: Pool
    _clock: Clock

    def status(self) -> list[KeyStatus]:
        """Return how each key stands, in the order they were given."""
        with self._lock:
            now_s = self._clock.now_s()
            return [slot.status(now_s) for slot in self._pool.slots.values()]

    def counts(self) -> Counts:
        """Return how many keys stand how, how much is in flight and how many wait."""
        with self._lock:
            now_s = self._clock.now_s()
            return count(
                [slot.status(now_s).state for slot in self._pool.slots.values()],
                in_flight=self._pool.in_flight,
                waiting=self._pool.waiting_count,
            )

    def waiting_on(self) -> Wait | None:
        """Return why requests wait and until when; None: none waits."""
        with self._lock:
            ticket = self._pool.first_waiting()
            if ticket is None:
                return None
            reason, until_s = explain(
                list(self._pool.slots.values()), ticket.need, self._clock.now_s()
            )
            return Wait(count=self._pool.waiting_count, until_s=until_s, reason=reason)

    def has_usable(self) -> bool:
        """Return whether any key is not dropped."""
        with self._lock:
            return any(slot.dropped is None for slot in self._pool.slots.values())

    def dropped(self) -> Mapping[str, str]:
        """Return why each dropped key was dropped, by name."""
        with self._lock:
            slots = self._pool.slots.items()
            return {name: slot.dropped for name, slot in slots if slot.dropped is not None}

    def fingerprints(self, salt: bytes) -> Mapping[str, str]:
        """Return what recognises each key under `salt`, by name."""
        with self._lock:
            slots = self._pool.slots.items()
            return {name: slot.key.secret.fingerprint(salt) for name, slot in slots}
