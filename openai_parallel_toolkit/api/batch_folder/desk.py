"""The keys' own desks at the Batch API: which key takes the next file, and who owns which batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random

from ...batch.service import BatchService
from ...core.clock import Clock
from ...core.errors import NoUsableKey
from ...core.records import Lease, Outcome
from ...core.text import brief
from ...keys import APIKeyManager
from ...transport.http import HttpTransport


class Desks:
    """One BatchService for each key; belongs to one event loop."""

    def __init__(
        self,
        keys: APIKeyManager,
        transport: HttpTransport,
        *,
        salt: bytes,
        clock: Clock,
        chance: Random,
        pause: Callable[[float], Awaitable[None]],
        patience_s: float,
    ) -> None:
        """`salt` makes the fingerprints by which keys are recognised in later runs."""
        self._keys = keys
        self._transport = transport
        self._salt = salt
        self._clock = clock
        self._chance = chance
        self._pause = pause
        self._patience_s = patience_s
        self._desks: dict[str, BatchService] = {}
        #: Files under way, by name of the key.
        self._load: Counter[str] = Counter()

    def choose(self, model: str) -> BatchService:
        """Return the desk of the key with the least under way; of equals, the first one.

        A key for another deployment than `model` comes last.

        Raises:
            NoUsableKey: no key can be used.
        """
        leases = self._keys.unmetered_leases(model)
        if not leases:
            dropped = "; ".join(
                f"{name}: {brief(why)}" for name, why in self._keys.dropped().items()
            )
            raise NoUsableKey(
                f"no key can take a batch of {model!r} ({dropped}); add a key or top one up, then "
                "run again"
            )
        fitting = [lease for lease in leases if lease.azure_deployment in {None, model}]
        return self._desk(min(fitting or leases, key=lambda lease: self._load[lease.key_name]))

    def owner(self, fingerprint: str) -> BatchService | None:
        """Return the desk of a key; None: it is dropped, or not among the keys any more."""
        for lease in self._keys.unmetered_leases(""):
            if lease.secret.fingerprint(self._salt) == fingerprint:
                return self._desk(lease)
        return None

    def fingerprint(self, desk: BatchService) -> str:
        """Return what recognises a desk's key in later runs."""
        return desk.lease.secret.fingerprint(self._salt)

    def count(self, key_name: str, change: int) -> None:
        """Note that a key has one file more or less under way."""
        self._load[key_name] += change

    def give_up(self, key_name: str, outcome: Outcome) -> None:
        """Take no key for alive that its provider has called dead."""
        self._keys.drop(key_name, outcome)

    def _desk(self, lease: Lease) -> BatchService:
        desk = self._desks.get(lease.key_name)
        if desk is None:
            desk = self._desks[lease.key_name] = BatchService(
                self._transport,
                lease,
                clock=self._clock,
                chance=self._chance,
                sleep=self._pause,
                patience_s=self._patience_s,
            )
        return desk
