"""Take calls from any thread to an event loop that sends them, or has them sent."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from ..core.errors import UsageError
from ..core.loop_calls import LoopCalls
from ..core.records import RawReply
from ..core.redaction import Redactor
from ..costs.prices import PriceBook
from ..transport import new_event_loop
from ..transport.base import HttpExchange
from .run_context import Deliver, RunContext, SubmittedCall
from .turns import Turns

_ResourceT = TypeVar("_ResourceT")


class KeysInUse(Protocol):
    """What those who ask need to know of the keys."""

    @property
    def prices(self) -> PriceBook:
        """What calls under them cost."""

    @property
    def redactor(self) -> Redactor:
        """Masks them."""

    def has_usable(self) -> bool:
        """Return whether any is not dropped."""


class CallSubmitter(ABC):
    """What calls are submitted to, from any thread: an event loop on a thread of its own."""

    def __init__(self, keys: KeysInUse) -> None:
        """Make the loop; a subclass starts the thread that runs it."""
        self._loop = new_event_loop()
        self.calls = LoopCalls(self._loop)
        #: Of the threads that wait for answers.
        self.turns = Turns(self.calls)
        #: For calls that belong to no run.
        self.untracked_context = RunContext(prices=keys.prices)
        self._askers: dict[asyncio.AbstractEventLoop, LoopCalls] = {}
        self._resources: dict[str, Any] = {}
        self._resources_lock = threading.Lock()

    @property
    @abstractmethod
    def keys(self) -> KeysInUse:
        """The keys that calls are sent under."""

    @abstractmethod
    def submit(self, call: SubmittedCall, deliver: Deliver) -> None:
        """Have a call sent; its reply or error is delivered once, on the loop's thread."""

    @abstractmethod
    def pass_on(
        self,
        exchange: HttpExchange,
        context: RunContext,
        deliver: Callable[[RawReply | BaseException], object],
    ) -> None:
        """Have sent what is no call; its reply or error is delivered as `submit` does."""

    @abstractmethod
    def begin_run(self) -> None:
        """Note that a run begins."""

    def loop_calls_to(self, loop: asyncio.AbstractEventLoop) -> LoopCalls:
        """Return the way for replies into an asker's own event loop; call it on that loop."""
        loop_calls = self._askers.get(loop)
        if loop_calls is None:
            loop_calls = LoopCalls(loop)
            open_ones = {k: v for k, v in self._askers.copy().items() if not k.is_closed()}
            self._askers = {**open_ones, loop: loop_calls}
        return loop_calls

    def resource(self, name: str, make: Callable[[], _ResourceT]) -> _ResourceT:
        """Return the one thing of this name, made once, that is closed with the sender."""
        with self._resources_lock:
            if name not in self._resources:
                self._resources[name] = make()
            return self._resources[name]  # type: ignore[no-any-return]

    def close_resources(self) -> None:
        """Close what `resource` has made."""
        with self._resources_lock:
            resources, self._resources = self._resources, {}
        for resource in resources.values():
            resource.close()


def closed() -> UsageError:
    """Return what is told to those who come when nothing is sent any more."""
    return UsageError("what sends under these keys was closed; make a new APIKeyManager")
