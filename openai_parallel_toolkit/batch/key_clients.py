"""Which keys may have batches of which model, and a client of the Batch API for each of them."""

from __future__ import annotations

from ..core.records import Lease, Outcome, OutcomeKind
from ..journal import Journal
from ..journal.batch_rows import BatchRecord
from ..keys import APIKeyManager
from ..transport.http import HttpTransport
from .options import Waiting
from .service import BatchService


class KeyClients:
    """One BatchService for each key; belongs to one event loop."""

    def __init__(self, journal: Journal, keys: APIKeyManager, waiting: Waiting) -> None:
        self.keys = keys
        self._journal = journal
        self._waiting = waiting
        self._transport = HttpTransport(
            proxy=keys.settings.proxy, max_reply_bytes=keys.settings.max_reply_bytes
        )
        self._services: dict[str, BatchService] = {}
        #: Refusals because of which a key gets no more batches of a model, by (key, model).
        self._barred: dict[tuple[str, str], Outcome] = {}

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    @property
    def waits(self) -> str:
        """Why a service is asked again, and until when; "": none is."""
        return next(filter(None, (service.waits for service in self._services.values())), "")

    def leases(self, model: str) -> list[Lease]:
        """Return a lease of every key that may have batches of a model."""
        return [
            lease
            for lease in self.keys.unmetered_leases(model)
            if (lease.key_name, model) not in self._barred
        ]

    def barred(self, model: str) -> Outcome | None:
        """Return why a key may have no batches of a model; None: all may that work."""
        return next((why for (_, m), why in self._barred.items() if m == model), None)

    def service(self, lease: Lease) -> BatchService:
        """Return the client of a key."""
        service = self._services.get(lease.key_name)
        if service is None:
            service = BatchService(self._transport, lease, self._waiting)
            self._services[lease.key_name] = service
        return service

    def owner(self, batch: BatchRecord) -> BatchService | None:
        """Return the client of a batch's key; None: it is dropped, or no key of ours any more."""
        for lease in self.keys.unmetered_leases(batch.model):
            if self.fingerprint(lease.key_name) == batch.fingerprint:
                return self.service(lease)
        return None

    def fingerprint(self, key_name: str) -> str:
        """Return what recognises a key in later runs."""
        return self.keys.fingerprints(self._journal.salt)[key_name]

    def blame(self, key_name: str, model: str, outcome: Outcome) -> None:
        """Give a key up that is dead, or bar it from a model that it does not have."""
        if outcome.kind is OutcomeKind.KEY_DEAD:
            self.keys.drop(key_name, outcome)
        elif outcome.kind is OutcomeKind.NOT_HERE:
            self._barred.setdefault((key_name, model), outcome)

    def forgive(self, key_name: str) -> None:
        """Take a key off trial that has brought answers, and forget that it was dropped."""
        if any(key.name == key_name and key.state == "on trial" for key in self.keys.status()):
            self.keys.restore(key_name)
            self._journal.key_restored(self.fingerprint(key_name))
