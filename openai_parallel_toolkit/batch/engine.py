"""What sees batches through, put together for a door."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

from ..core.clock import Clock
from ..journal import Journal
from ..keys import APIKeyManager
from .key_clients import KeyClients
from .options import Patience
from .submit import Submitter
from .token_quota import EnqueuedTokenQuota
from .tracker import BatchTracker, Door


class BatchEngine:
    """Keys, limits and the life of batches; belongs to one event loop."""

    def __init__(
        self,
        journal: Journal,
        keys: APIKeyManager,
        door: Door,
        *,
        window: str,
        patience: Patience,
        clock: Clock,
        chance: Random,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Prepare.

        Args:
            window: the time that the provider may take for a batch.
            pause: waits so many seconds, or raises when the work is to stop.
        """
        self.store = journal.batches
        self.patience = patience
        self.clients = KeyClients(
            journal, keys, patience=patience, clock=clock, chance=chance, pause=pause
        )
        self.quota = EnqueuedTokenQuota(
            keys.settings.api_keys,
            pause_s=patience.full_s,
            longest_pause_s=patience.longest_full_s,
        )
        submitter = Submitter(
            self.store,
            door,
            window=window,
            patience=patience,
            clock=clock,
            chance=chance,
            pause=pause,
        )
        self.tracker = BatchTracker(
            self.store,
            door,
            self.clients,
            submitter,
            self.quota,
            patience=patience,
            clock=clock,
            chance=chance,
            clean=keys.redactor.clean,
            pause=pause,
        )
