"""Send now: one event loop on one thread sends the calls of all worker threads and hooks."""

from __future__ import annotations

import asyncio
import atexit
import os
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from ..core.clock import Clock, SystemClock
from ..core.errors import RunStopping, UsageError
from ..core.records import RawReply
from ..core.threads import require, start_thread
from ..keys import APIKeyManager
from ..transport import Transport, default_transport
from ..transport.base import HttpExchange
from ..transport.default import LOOKUP_THREADS, start_lookup_threads
from .admission import Admission, RateLimiter
from .driver import CallDriver
from .exchanges import Exchanges
from .run_context import Deliver, RunContext, SubmittedCall
from .submitter import CallSubmitter, closed

#: Its own, those that look names up, and the one that serves who waits for a key.
_THREADS = 1 + LOOKUP_THREADS + 1


class Sender(CallSubmitter):
    """Takes calls from admission to reply; `submit` may be called from any thread.

    Calls are worked on by its own thread alone, so that needs no lock.
    """

    def __init__(
        self,
        keys: APIKeyManager,
        *,
        transport: Transport | None = None,
        limiter: RateLimiter | None = None,
        clock: Clock | None = None,
        chance: random.Random | None = None,
    ) -> None:
        """Start its thread; `transport` None: HTTP; `limiter`: limits besides those of the keys.

        Raises:
            OutOfResources: the system does not give the threads that sending takes.
        """
        super().__init__(keys)
        self._keys = keys
        transport = transport or default_transport(
            keys.settings.proxy, max_reply_bytes=keys.settings.max_reply_bytes
        )
        admission = Admission(keys, self.calls, limiter)
        self._driver = CallDriver(
            transport=transport,
            calls=self.calls,
            admit=admission.admit,
            settle=admission.settle,
            pause=admission.pause,
            clock=clock or SystemClock(),
            chance=chance or random.Random(),
            clean=keys.redactor.clean,
        )
        self._exchanges = Exchanges(
            transport=transport,
            admission=admission,
            clock=self._driver.clock,
            clean=keys.redactor.clean,
        )
        self._under_way: set[asyncio.Task[None] | None] = set()
        self._pid = os.getpid()
        self._is_closing = self._is_leaving = False
        require(_THREADS)
        self._thread = start_thread(self._run, name="sender")
        atexit.register(self._leave)

    @classmethod
    def of(cls, keys: APIKeyManager) -> Sender:
        """Return the sender that sends under these keys, made when first asked for."""
        return keys.shared_sender(cls)

    @property
    def keys(self) -> APIKeyManager:
        return self._keys

    def cpu_s(self) -> float:
        """Return the CPU time that its thread has used, 0 where the system does not tell."""
        clock_of = getattr(time, "pthread_getcpuclockid", None)
        if clock_of is None or self._thread.ident is None or not self._thread.is_alive():
            return 0.0
        return time.clock_gettime(clock_of(self._thread.ident))

    def begin_run(self) -> None:
        """Begin to count anew the attempts in a row that reach no server."""
        self._driver.unreached = 0

    def submit(self, call: SubmittedCall, deliver: Deliver) -> None:
        """Send a call; its reply or error is delivered once, on the sender's thread."""
        if self._pid != os.getpid():
            raise UsageError("a forked process cannot use its parent's keys; make an APIKeyManager")
        self._begin(self._driver.reply, (call,), deliver)

    def pass_on(
        self,
        exchange: HttpExchange,
        context: RunContext,
        deliver: Callable[[RawReply | BaseException], object],
    ) -> None:
        """Send what is no call; its reply or error is delivered as `submit` does."""
        self._begin(self._exchanges.run, (exchange, context), deliver)

    def close(self) -> None:
        """Cancel what is under way, close the connections and resources, end the thread."""
        atexit.unregister(self._leave)
        self._stop()
        self.close_resources()

    def _leave(self) -> None:
        """End the thread with the process: a timer that rings while Python ends kills it."""
        if self._pid == os.getpid():
            self._is_leaving = True
            self._stop()

    def _stop(self) -> None:
        if not self._loop.is_closed():
            self.calls.post(self._loop.stop)
            self._thread.join(timeout=5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        started = self._loop.create_task(start_lookup_threads(self._loop))
        self._loop.run_forever()
        if self._is_leaving:
            return
        self._loop.run_until_complete(asyncio.wait([started]))  # uvloop tells when it is cancelled
        self._loop.run_until_complete(self._shut_down())
        self._loop.close()
        self.calls.run_posted()  # those who came meanwhile are told

    async def _shut_down(self) -> None:
        self._is_closing = True
        self.turns.end()
        under_way = [task for task in self._under_way if task is not None]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await self._driver.transport.close()
        with suppress(RuntimeError):  # no thread to wait for its threads
            await self._loop.shutdown_default_executor()

    def _begin(
        self,
        work: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        deliver: Callable[[Any], object],
    ) -> None:
        try:
            self.calls.post(self._start, work, args, deliver)
        except RuntimeError as exc:
            raise closed() from exc

    def _start(
        self,
        work: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        deliver: Callable[[Any], object],
    ) -> None:
        if self._is_closing:
            deliver(closed())
            return
        self._under_way.add(self._loop.create_task(self._reply(work(*args), deliver)))

    async def _reply(self, coming: Awaitable[Any], deliver: Callable[[Any], object]) -> None:
        try:
            deliver(await coming)
        except BaseException as exc:  # noqa: BLE001 - handed to the one who asked
            deliver(RunStopping() if isinstance(exc, asyncio.CancelledError) else exc)
        finally:
            self._under_way.discard(asyncio.current_task())
