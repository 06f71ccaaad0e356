"""Lend API keys to requests and take them back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random as random_module
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import ClassVar

from ..clock import Clock, SystemClock
from ..errors import UsageError
from ..prices import PriceBook
from ..records import KeyStatus, Lease, Need, Outcome, OutcomeKind
from ..redact import Redactor, Secret
from ..settings import DEFAULT_API_BASE, APIKey, Settings, load_settings, more_keys
from .figures import Counts, Wait, count, explain
from .pool import Pool
from .ticket import Ticket
from .timekeeper import Timekeeper

logger = logging.getLogger(__name__)

_UNUSED = Outcome(kind=OutcomeKind.UNSENT, code="not_used")
DropListener = Callable[[str, str], None]


class APIKeyManager:
    """Lends keys: the one that has rested longest, within limits, never a cooling or dead one.

    One lock guards the pool, the listeners and the settings; nothing waits or calls out while
    holding it. The first manager made in a process is the one that bare calls use.
    """

    _default: ClassVar[APIKeyManager | None] = None
    _default_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(
        self,
        api_keys: Sequence[str | APIKey] | None = None,
        config_path: str | os.PathLike[str] | None = None,
        set_api_base: bool = True,
        *,
        settings: Settings | None = None,
        clock: Clock | None = None,
        random: random_module.Random | None = None,
    ) -> None:
        """Load the keys and stand ready.

        Args:
            api_keys: the keys; None: those of the config or the environment.
            config_path: a config.json; None: see `load_settings`.
            set_api_base: False ignores the configured base URL: keys without one of their own
                work at OpenAI's.
            settings: what was loaded before; None: load as the other arguments say.
            clock: None: the system's.
            random: for the jitter of waits; None: a fresh one.

        Raises:
            ConfigError: a setting is missing or wrong.
        """
        settings = settings or load_settings(config_path, api_keys=api_keys)
        if not set_api_base:
            settings = replace(settings, api_base=DEFAULT_API_BASE)
        self._settings = settings
        self._clock = clock or SystemClock()
        self._prices = PriceBook(settings.prices)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._pool = Pool(settings.api_base, random or random_module.Random())
        self._timekeeper = Timekeeper(
            self._clock, self._changed, self._pool.next_s, self._advance
        )
        self._listeners: dict[int, DropListener] = {}
        self._is_closed = False
        proxies = [settings.proxy] if settings.proxy else []
        self._redactor = Redactor([*proxies, *(key.secret for key in settings.api_keys)])
        for key in settings.api_keys:
            self._pool.add(key, self._clock.now_s())
        with APIKeyManager._default_lock:
            if APIKeyManager._default is None:
                APIKeyManager._default = self

    # -- lending -------------------------------------------------------------------------------

    def request(
        self, need: Need, on_ready: Callable[[], None], *, timeout_s: float | None = None
    ) -> Ticket:
        """Ask for a lease without waiting.

        When it is served or refused at once, the ticket says so and `on_ready` is not called.
        Otherwise it queues, first come first served for each model, and `on_ready` is called once,
        from another thread perhaps, when `lease` or `error` is set. `on_ready` must not block.

        Args:
            timeout_s: seconds after which it fails with LeaseTimeout; None: never.
        """
        now_s = self._clock.now_s()
        expires_s = None if timeout_s is None else now_s + max(0.0, timeout_s)
        ticket = Ticket(need, on_ready, self._withdraw, expires_s)
        with self._lock:
            if self._is_closed:
                ticket.error = _closed()
                return ticket
            done = self._pool.request(ticket, now_s)
            if self._pool.waiting:
                self._timekeeper.look()
        if done:
            _wake(done)
        return ticket

    def lease(self, need: Need, *, timeout_s: float | None = None) -> Lease:
        """Wait for a lease; whoever gets it must `settle` it.

        Args:
            timeout_s: seconds to wait; None: for ever.

        Raises:
            NoUsableKey: no key can ever serve it.
            LeaseTimeout: keys exist, none came free in `timeout_s`.
        """
        is_ready = threading.Lock()  # lighter than an Event, and waits as interruptibly
        is_ready.acquire()
        ticket = self.request(need, is_ready.release, timeout_s=timeout_s)
        if ticket.is_waiting:
            try:
                is_ready.acquire()
            except BaseException as exc:
                ticket.withdraw(exc)
                raise
        return _lease_of(ticket)

    async def alease(self, need: Need) -> Lease:
        """Wait for a lease in an event loop; when cancelled, the lease goes back.

        Raises:
            NoUsableKey: no key can ever serve it.
        """
        loop = asyncio.get_running_loop()
        is_ready: asyncio.Future[None] = loop.create_future()

        def on_ready() -> None:
            # A closed loop has no one left to wake.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_resolve, is_ready)

        ticket = self.request(need, on_ready)
        if ticket.is_waiting:
            try:
                await is_ready
            except BaseException as exc:
                ticket.withdraw(exc)
                raise
        return _lease_of(ticket)

    def settle(self, lease: Lease, outcome: Outcome) -> None:
        """Take a lease back, with what became of the request.

        A lease that was settled before, or withdrawn, is left alone, with a warning.
        """
        cost_usd = self._prices.cost_usd(lease.need.model, outcome.usage)
        now_s = self._clock.now_s()
        if outcome.kind is OutcomeKind.KEY_DEAD:
            outcome = replace(outcome, message=self._redactor.clean(outcome.message))
        with self._lock:
            is_held = self._pool.holds(lease)
            slot = self._pool.slots.get(lease.key_name)
            was_alive = slot is not None and slot.dropped is None
            done = self._pool.settle(lease, outcome, cost_usd, now_s) if is_held else []
            reason = slot.dropped if slot is not None and was_alive else None
            if done or self._pool.waiting:
                self._timekeeper.look()
        if not is_held:
            logger.warning("a lease of %s was settled twice", lease.key_name)
        if reason is not None:
            self._tell_drop(lease.key_name, reason)
        if done:
            _wake(done)

    def _withdraw(self, ticket: Ticket, error: BaseException) -> None:
        with self._lock:
            lease = ticket.lease
            if lease is None:
                done = self._pool.withdraw(ticket, error, self._clock.now_s())
            else:
                ticket.lease, ticket.error = None, error
                done = self._pool.settle(lease, _UNUSED, None, self._clock.now_s())
            self._timekeeper.look()
        _wake(done)

    def _advance(self, now_s: float) -> Callable[[], None]:
        done = self._pool.advance(now_s)
        return lambda: _wake(done)
