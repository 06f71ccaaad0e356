"""Lend API keys to requests and take them back."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any, ClassVar, TypeVar

from ..core.clock import Clock, SystemClock
from ..core.errors import LeaseTimeout, UsageError
from ..core.logs import logger_of
from ..core.records import KeyStatus, Lease, Need, Outcome, OutcomeKind
from ..core.redaction import Redactor, Secret
from ..costs.prices import PriceBook
from .circuit import Outage
from .config import DEFAULT_API_BASE, GivenKey, Settings, load_settings, more_keys
from .drop_listeners import DropListener, DropListeners
from .lending import outcome_of
from .model_queue import LeaseRequest
from .pool import Pool, Settled
from .serve_timer import ServeTimer, wake
from .standing import Counts, Wait

logger = logger_of(__name__)

SharedSender = TypeVar("SharedSender")
#: Outcomes whose words are told as the reason for something.
_TOLD = (OutcomeKind.KEY_DEAD, OutcomeKind.NOT_HERE)


class APIKeyManager:
    """Lends keys: the one that has rested longest, within limits, never a cooling or dead one.

    One lock guards the pool and the settings; nothing waits or calls out while
    holding it. The first manager made in a process is the one that bare calls use.
    """

    _default: ClassVar[APIKeyManager | None] = None
    #: By path, or by what was given instead: when the config was written, and its manager.
    _of_configs: ClassVar[dict[object, tuple[int, APIKeyManager]]] = {}
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
        """Load the keys.

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
        #: The settings as they were loaded.
        self.loaded = settings
        if not set_api_base:
            settings = replace(settings, api_base=DEFAULT_API_BASE)
        self._settings = settings
        self._clock = clock or SystemClock()
        #: What the calls under these keys cost.
        self.prices = PriceBook(
            settings.prices,
            settings.api_base,
            deployments={key.azure_deployment for key in settings.api_keys},
        )
        self._lock = threading.Lock()
        self._pool = Pool(settings.api_base, random or Random())
        self._queues = self._pool.queues
        self._timer = ServeTimer(self._queues, self._lock, self._clock)
        self._drop_listeners = DropListeners()
        self._is_closed = False
        self._sender_lock = threading.Lock()
        self._sender: Any = None
        proxies = [settings.proxy] if settings.proxy else []
        #: Masks every key it has or had, and the proxy.
        self.redactor = Redactor([*proxies, *(key.secret for key in settings.api_keys)])
        for key in settings.api_keys:
            self._pool.add(key, self._clock.now_s())
        with APIKeyManager._default_lock:
            if APIKeyManager._default is None:
                APIKeyManager._default = self

    # -- lending -------------------------------------------------------------------------------

    def request(self, need: Need, on_ready: Callable[[], None]) -> LeaseRequest:
        """Ask for a lease without waiting.

        When it is served or refused at once, the request says so and `on_ready` is not called.
        Otherwise it queues, first come first served for each model, and `on_ready` is called once,
        from another thread perhaps, when `lease` or `error` is set. `on_ready` must not block.
        """
        request = LeaseRequest(need, on_ready, self._withdraw)
        with self._lock:
            if self._is_closed:
                request.error = _closed()
                return request
            served = self._queues.ask(request, self._clock.now_s())
            if self._queues.waiting:
                self._timer.set()
        if served:
            wake(served)
        return request

    def lease(self, need: Need, *, timeout_s: float | None = None) -> Lease:
        """Wait for a lease, to send under it what code of your own sends; then `settle` it.

        Args:
            timeout_s: seconds to wait; None: for ever.

        Raises:
            NoUsableKey: no key can ever serve it.
            LeaseTimeout: keys exist, none came free in `timeout_s`.
        """
        until_s = None if timeout_s is None else self._clock.now_s() + timeout_s
        changed = threading.Condition()

        def on_ready() -> None:
            with changed:
                changed.notify()

        request = self.request(need, on_ready)
        try:
            with changed:
                while request.is_waiting and (until_s is None or self._clock.now_s() < until_s):
                    self._clock.wait(changed, until_s)
        except BaseException as exc:
            request.withdraw(exc)
            raise
        if request.is_waiting:
            request.withdraw(LeaseTimeout())
        if request.lease is None:
            raise request.error or _closed()
        return request.lease

    @contextmanager
    def lend(
        self, model: str = "", *, tokens: int = 0, timeout_s: float | None = None
    ) -> Iterator[Lease]:
        """Lend a key to code that sends by itself, through requests, curl or the like.

        How the block ends settles it: an error with status 401 drops the key, one with 429 or 5xx
        lets it cool. Nothing is kept, so a rerun sends again; nothing is priced.

        Args:
            model: what will be asked for.
            tokens: prompt tokens plus the largest reply, for the key's limits.
            timeout_s: as for `lease`, whose errors it raises.
        """
        lease = self.lease(Need(model=model, tokens=tokens), timeout_s=timeout_s)
        outcome = Outcome(kind=OutcomeKind.OK)
        try:
            yield lease
        except BaseException as error:
            outcome = outcome_of(error)
            raise
        finally:
            self.settle(lease, outcome)

    def settle(self, lease: Lease, outcome: Outcome, cost_usd: Decimal | None = None) -> Outcome:
        """Take a lease back, with what became of the request, and return what follows for it.

        A refusal that names neither key nor model comes back as KEY_DEAD or NOT_HERE when the key
        proved to be at fault. If its `suspect` is still set, another key may serve the request. A
        limit comes back with its `standing`.

        A lease that was settled before, or withdrawn, is left alone, with a warning.

        Args:
            cost_usd: what it cost; None: what the outcome's usage costs at the list price.
        """
        if cost_usd is None and outcome.usage is not None:
            cost_usd = self.prices.cost_usd(lease.need.model, outcome.usage)
        is_ok = outcome.kind is OutcomeKind.OK
        if not is_ok and (outcome.kind in _TOLD or outcome.suspect is not None):
            outcome = replace(outcome, message=self.redactor.clean(outcome.message))
        with self._lock:
            settled = self._pool.settle(lease, outcome, cost_usd, self._clock.now_s())
            if self._queues.waiting:
                self._timer.set()
        if settled is None:
            logger.warning("a lease of %s was settled twice; the first counts", lease.key_name)
            return outcome
        if is_ok and settled.outage is None:
            if settled.requests:
                wake(settled.requests)
            return settled.outcome
        if settled.outage is not None and outcome.kind is not OutcomeKind.UNSENT:
            logger.warning(
                "%s fails every request (%s); requests wait, and one now and then tries it",
                settled.outage.address,
                self.redactor.clean(settled.outage.reason),
                extra={"action": "outage"},
            )
        if settled.not_here is not None:
            logger.warning(
                "key %s does not have %s: %s; it is not asked for it again in this run",
                lease.key_name,
                lease.need.model,
                settled.not_here,
                extra={"action": "model_not_here", "key": lease.key_name},
            )
        self._tell(settled)
        return settled.outcome

    def unmetered_leases(self, model: str) -> list[Lease]:
        """Return one lease of every key that can serve a model, for what knows no such limits.

        They are not counted, not limited and not settled.
        """
        with self._lock:
            return self._pool.unmetered_leases(model, self._clock.now_s())

    def drop(self, name: str, outcome: Outcome) -> None:
        """Give a key up that proved to be dead outside any lease; unknown names are passed over."""
        outcome = replace(outcome, message=self.redactor.clean(outcome.message))
        with self._lock:
            settled = self._pool.drop(name, outcome)
            self._timer.set()
        self._tell(settled)

    def exhaust(self, lease: Lease, reason: str) -> None:
        """Give up the keys of a lease's group, which answered nothing but limits for its model."""
        with self._lock:
            settled = self._pool.exhaust(lease, self.redactor.clean(reason))
            self._timer.set()
        self._tell(settled)

    def add_key(self, key: GivenKey) -> None:
        """Add a key while running; one that is there already is left alone, with a warning.

        Raises:
            ConfigError: it cannot be used, or its name is taken.
        """
        settings = self._settings
        added = more_keys(settings, [key])
        with self._lock:
            is_current = settings is self._settings
            served: list[LeaseRequest] = []
            for one in added if is_current else ():
                served += self._pool.add(one, self._clock.now_s())
                self._settings = replace(self._settings, api_keys=(*self._settings.api_keys, one))
                self.redactor.add(one.secret)
            self._timer.set()
        wake(served)
        if not is_current:  # another thread added or removed one meanwhile
            self.add_key(key)

    def remove_key(self, name_or_value: str) -> None:
        """Take a key away, by its name or its value. What it has in flight is not disturbed.

        Raises:
            UsageError: there is no such key.
        """
        secret = Secret(name_or_value)
        with self._lock:
            states = self._pool.states
            names = [name_or_value] if name_or_value in states else []
            names = names or [name for name, one in states.items() if one.key.secret == secret]
            failed = [request for name in names for request in self._pool.remove(name)]
            kept = tuple(key for key in self._settings.api_keys if key.name not in names)
            self._settings = replace(self._settings, api_keys=kept)
            self._timer.set()
        if not names:
            raise UsageError("no key has this name or value; status() lists the names")
        wake(failed)

    def restore(self, name: str) -> None:
        """Offer a dropped key again, because it was topped up for example.

        Raises:
            UsageError: there is no such key.
        """
        self._act(lambda now_s: self._pool.restore(name, now_s))

    def recall_drops(self, salt: bytes, reasons: Mapping[str, str]) -> None:
        """Half-open the keys that an earlier run dropped: one request at a time until one succeeds.

        Args:
            salt: what their fingerprints were made with.
            reasons: why each was dropped, by fingerprint; unknown ones are passed over.
        """
        with self._lock:
            for state in self._pool.states.values():
                reason = reasons.get(state.key.secret.fingerprint(salt))
                if reason is not None and state.dropped is None:
                    state.half_open = reason

    def on_drop(self, listener: DropListener) -> Callable[[], None]:
        """Have `listener(name, reason)` called at each drop; return what ends that."""
        return self._drop_listeners.add(listener)

    def close(self) -> None:
        """Fail those who wait with UsageError and lend no more; leases can still be settled.

        What sends under these keys is closed as well: its connections and its thread.
        """
        with self._lock:
            self._is_closed = True
            failed = self._queues.requests
            self._queues.fail(failed, _closed())
            self._timer.set()
        with APIKeyManager._default_lock:
            if APIKeyManager._default is self:
                APIKeyManager._default = None
        wake(failed)
        with self._sender_lock:
            sender, self._sender = self._sender, None
        if sender is not None:
            sender.close()

    def shared_sender(self, make: Callable[[APIKeyManager], SharedSender]) -> SharedSender:
        """Return the one sender of all who use these keys, made when first asked for.

        Raises:
            UsageError: the manager is closed, and nothing would close what is made now.
        """
        with self._sender_lock:
            if self._sender is None:
                if self._is_closed:
                    raise _closed()
                self._sender = make(self)
            return self._sender  # type: ignore[no-any-return]

    # -- how things stand ----------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """What was loaded, with the keys as they are now."""
        return self._settings

    def status(self) -> list[KeyStatus]:
        """Return how each key stands, in the order they were given."""
        with self._lock:
            now_s = self._clock.now_s()
            return [state.status(now_s) for state in self._pool.states.values()]

    def counts(self) -> Counts:
        """Return how many keys stand how, how much is in flight and how many wait."""
        with self._lock:
            return self._pool.counts(self._clock.now_s())

    def waiting_on(self) -> Wait | None:
        """Return why requests wait and until when; None: none waits."""
        with self._lock:
            return self._pool.waiting_on(self._clock.now_s())

    def blocked_by(self, need: Need) -> str:
        """Return in a word what keeps the key that could serve `need` first from it."""
        with self._lock:
            return self._pool.blocked_by(need, self._clock.now_s())

    def now_s(self) -> float:
        """Return its clock's time, seconds."""
        return self._clock.now_s()

    def serve_due(self) -> None:
        """Serve those whose time has come, where the system gave no thread that would do it."""
        self._timer.serve()

    def outage(self, need: Need) -> Outage | None:
        """Return how long no server of a key for a need has answered; None: one answers."""
        with self._lock:
            return self._pool.outage(need, self._clock.now_s())

    def has_usable(self) -> bool:
        """Return whether any key is not dropped."""
        return any(one.state != "dropped" for one in self.status())

    def dropped(self) -> Mapping[str, str]:
        """Return why each dropped key was dropped, by name."""
        return {one.name: one.reason for one in self.status() if one.state == "dropped"}

    def fingerprints(self, salt: bytes) -> Mapping[str, str]:
        """Return what recognises each key under `salt`, by name."""
        with self._lock:
            states = self._pool.states.items()
            return {name: state.key.secret.fingerprint(salt) for name, state in states}

    def __repr__(self) -> str:
        return f"<APIKeyManager {self.counts()}>"

    # -- acting, without the lock --------------------------------------------------------------

    def _withdraw(self, request: LeaseRequest, error: BaseException) -> None:
        self._act(lambda now_s: self._pool.withdraw(request, error, now_s))

    def _act(self, act: Callable[[float], Sequence[LeaseRequest]]) -> None:
        """Act on the pool under the lock, and wake those it served or failed without it."""
        with self._lock:
            done = act(self._clock.now_s())
            self._timer.set()
        wake(done)

    def _tell(self, settled: Settled) -> None:
        if settled.dropped:
            self._drop_listeners.tell(settled.dropped)
        wake(settled.requests)


def _closed() -> UsageError:
    return UsageError("the key manager was closed; make a new one")
