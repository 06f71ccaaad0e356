"""Lend API keys to requests and take them back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any, ClassVar, TypeVar

from ..core.clock import Clock, SystemClock
from ..core.errors import UsageError
from ..core.records import Lease, Need, Outcome, OutcomeKind
from ..core.redaction import Redactor, Secret
from ..costs.prices import PriceBook
from .config import DEFAULT_API_BASE, APIKey, GivenKey, Settings, load_settings, more_keys
from .lease_request import LeaseRequest
from .pool import Pool
from .readings import Readings
from .timekeeper import Timekeeper

logger = logging.getLogger(__name__)

_UNUSED = Outcome(kind=OutcomeKind.UNSENT, code="not_used")
DropListener = Callable[[str, str], None]
Companion = TypeVar("Companion")


class APIKeyManager(Readings):
    """Lends keys: the one that has rested longest, within limits, never a cooling or dead one.

    One lock guards the pool, the listeners and the settings; nothing waits or calls out while
    holding it. The first manager made in a process is the one that bare calls use.
    """

    _default: ClassVar[APIKeyManager | None] = None
    #: By path: when the config was written, and its manager.
    _of_configs: ClassVar[dict[str, tuple[int, APIKeyManager]]] = {}
    _default_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(
        self,
        api_keys: Sequence[GivenKey] | None = None,
        config_path: str | os.PathLike[str] | None = None,
        set_api_base: bool = True,
        *,
        settings: Settings | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
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
        #: What the calls under these keys cost.
        self.prices = PriceBook(settings.prices, settings.api_base)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._pool = Pool(settings.api_base, random or Random())
        self._timekeeper = Timekeeper(self._clock, self._changed, self._pool.next_s, self._advance)
        self._listeners: dict[object, DropListener] = {}
        self._is_closed = False
        self._companion_lock = threading.Lock()
        self._companion: Any = None
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
    ) -> LeaseRequest:
        """Ask for a lease without waiting.

        When it is served or refused at once, the ticket says so and `on_ready` is not called.
        Otherwise it queues, first come first served for each model, and `on_ready` is called once,
        from another thread perhaps, when `lease` or `error` is set. `on_ready` must not block.

        Args:
            timeout_s: seconds after which it fails with LeaseTimeout; None: never.
        """
        now_s = self._clock.now_s()
        expires_s = None if timeout_s is None else now_s + max(0.0, timeout_s)
        ticket = LeaseRequest(need, on_ready, self._withdraw, expires_s)
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
        cost_usd = self.prices.cost_usd(lease.need.model, outcome.usage)
        if outcome.kind is OutcomeKind.KEY_DEAD:
            outcome = replace(outcome, message=self._redactor.clean(outcome.message))
        with self._lock:
            settled = self._pool.settle(lease, outcome, cost_usd, self._clock.now_s())
            if self._pool.waiting:
                self._timekeeper.look()
        if settled is None:
            logger.warning("a lease of %s was settled twice; the first counts", lease.key_name)
            return
        if settled.dropped is not None:
            self._tell_drop(lease.key_name, settled.dropped)
        _wake(settled.tickets)

    def passes(self, model: str) -> list[Lease]:
        """Return one lease of every key that can serve a model, for what knows no such limits.

        They are not counted, not limited and not settled.
        """
        with self._lock:
            return self._pool.passes(Need(model=model, tokens=0), self._clock.now_s())

    def drop(self, name: str, outcome: Outcome) -> None:
        """Give a key up that proved to be dead outside any lease; unknown names are passed over."""
        outcome = replace(outcome, message=self._redactor.clean(outcome.message))
        with self._lock:
            known = name in self._pool.slots
            settled = self._pool.drop(name, outcome) if known else None
            self._timekeeper.look()
        if settled is not None and settled.dropped is not None:
            self._tell_drop(name, settled.dropped)
        _wake(settled.tickets if settled is not None else [])

    def add_key(self, key: GivenKey) -> None:
        """Add a key while running; one that is there already is left alone, with a warning.

        Raises:
            ConfigError: it cannot be used, or its name is taken.
        """
        settings = self._settings
        added = more_keys(settings, [key])
        with self._lock:
            is_current = settings is self._settings
            done = self._add(added) if is_current else []
        if is_current:
            _wake(done)
        else:  # another thread added or removed one meanwhile
            self.add_key(key)

    def _add(self, added: Sequence[APIKey]) -> list[LeaseRequest]:
        now_s = self._clock.now_s()
        done = [ticket for key in added for ticket in self._pool.add(key, now_s)]
        self._settings = replace(self._settings, api_keys=(*self._settings.api_keys, *added))
        # In place: filters that hold the redactor must know the new key as well.
        self._redactor._secrets += tuple(key.secret for key in added)
        self._timekeeper.look()
        return done

    def remove_key(self, name_or_value: str) -> None:
        """Take a key away, by its name or its value. What it has in flight is not disturbed.

        Raises:
            UsageError: there is no such key.
        """
        secret = Secret(name_or_value)
        with self._lock:
            slots = self._pool.slots
            names = [name_or_value] if name_or_value in slots else []
            names = names or [name for name, slot in slots.items() if slot.key.secret == secret]
            done = [ticket for name in names for ticket in self._pool.remove(name)]
            kept = tuple(key for key in self._settings.api_keys if key.name not in names)
            self._settings = replace(self._settings, api_keys=kept)
            self._timekeeper.look()
        if not names:
            raise UsageError("no key has this name or value; status() lists the names")
        _wake(done)

    def restore(self, name: str) -> None:
        """Offer a dropped key again, because it was topped up for example.

        Raises:
            UsageError: there is no such key.
        """
        with self._lock:
            if name not in self._pool.slots:
                raise UsageError("no key has this name; status() lists the names", key_name=name)
            done = self._pool.restore(name, self._clock.now_s())
            self._timekeeper.look()
        _wake(done)

    def recall_drops(self, salt: bytes, reasons: Mapping[str, str]) -> None:
        """Put keys that an earlier run dropped on trial: one request at a time until one succeeds.

        Args:
            salt: what their fingerprints were made with.
            reasons: why each was dropped, by fingerprint; unknown ones are passed over.
        """
        with self._lock:
            for slot in self._pool.slots.values():
                reason = reasons.get(slot.key.secret.fingerprint(salt))
                if reason is not None and slot.dropped is None:
                    slot.trial = reason

    def on_drop(self, listener: DropListener) -> Callable[[], None]:
        """Have `listener(name, reason)` called at each drop; return what ends that."""
        token = object()
        with self._lock:
            self._listeners[token] = listener

        def unsubscribe() -> None:
            with self._lock:
                self._listeners.pop(token, None)

        return unsubscribe

    def close(self) -> None:
        """Fail those who wait with UsageError and lend no more; leases can still be settled.

        What sends under these keys is closed as well: its connections and its thread.
        """
        with self._lock:
            self._is_closed = True
            done = self._pool.fail_all(_closed())
            self._timekeeper.look()
        with APIKeyManager._default_lock:
            if APIKeyManager._default is self:
                APIKeyManager._default = None
        _wake(done)
        with self._companion_lock:
            companion, self._companion = self._companion, None
        if companion is not None:
            companion.close()

    def companion(self, make: Callable[[APIKeyManager], Companion]) -> Companion:
        """Return the one object that sends under these keys, made when first asked for.

        Raises:
            UsageError: the manager is closed, and nothing would close what is made now.
        """
        with self._companion_lock:
            if self._companion is None:
                if self._is_closed:
                    raise _closed()
                self._companion = make(self)
            return self._companion  # type: ignore[no-any-return]

    # -- how things stand ----------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """What was loaded, with the keys as they are now."""
        return self._settings

    @property
    def redactor(self) -> Redactor:
        """Masks every key it has or had, and the proxy."""
        return self._redactor

    def __repr__(self) -> str:
        return f"<APIKeyManager {self.counts()}>"

    # -- acting, without the lock --------------------------------------------------------------

    def _withdraw(self, ticket: LeaseRequest, error: BaseException) -> None:
        with self._lock:
            now_s = self._clock.now_s()
            lease = ticket.lease
            if lease is None:
                done = self._pool.withdraw(ticket, error, now_s)
            else:
                ticket.lease, ticket.error = None, error
                settled = self._pool.settle(lease, _UNUSED, None, now_s)
                done = settled.tickets if settled is not None else []
            self._timekeeper.look()
        _wake(done)

    def _advance(self, now_s: float) -> Callable[[], None]:
        done = self._pool.advance(now_s)
        return lambda: _wake(done)

    def _tell_drop(self, name: str, reason: str) -> None:
        logger.warning(
            "key %s is dropped: %s; it is not asked again in this run",
            name,
            reason,
            extra={"action": "key_dropped", "key": name},
        )
        with self._lock:
            listeners = list(self._listeners.values())
        for listener in listeners:
            listener(name, reason)


def _wake(tickets: Sequence[LeaseRequest]) -> None:
    for ticket in tickets:
        try:
            ticket.on_ready()
        except Exception:
            # The others must be woken all the same.
            logger.exception("a callback of a request for a key failed")


def _lease_of(ticket: LeaseRequest) -> Lease:
    if ticket.lease is None:
        raise ticket.error or _closed()
    return ticket.lease


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _closed() -> UsageError:
    return UsageError("the key manager was closed; make a new one")
