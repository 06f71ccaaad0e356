"""Serve those who wait for a key when their time has come, and tell them."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from contextlib import suppress

from ..core.clock import Clock
from ..core.errors import OutOfResources
from ..core.logs import logger_of
from ..core.threads import start_thread
from .lease_queues import LeaseQueues
from .model_queue import LeaseRequest

logger = logger_of(__name__)


class ServeTimer:
    """Its thread lives while somebody waits for a time, if the system gives one.

    The lock of the queues guards all of it.
    """

    def __init__(self, queues: LeaseQueues, lock: threading.Lock, clock: Clock) -> None:
        self._queues = queues
        self._changed = threading.Condition(lock)
        self._clock = clock
        self._thread: threading.Thread | None = None
        #: Clock time, seconds, that it waits for.
        self._until_s = math.inf

    def set(self) -> None:
        """Take note, under the lock, that the next time to serve may be another one."""
        next_s = self._queues.next_s()
        if self._thread is None:
            if next_s < math.inf:
                with suppress(OutOfResources):  # whoever waits may call `serve`
                    self._thread = start_thread(self._run, name="keys-timer")
        elif next_s == math.inf or next_s < self._until_s:
            self._changed.notify_all()

    def serve(self) -> None:
        """Do its work, if it has no thread to do it."""
        with self._changed:
            is_due = self._thread is None and self._queues.next_s() <= self._clock.now_s()
            served = self._queues.advance(self._clock.now_s()) if is_due else ()
        wake(served)

    def _run(self) -> None:
        while True:
            with self._changed:
                until_s = self._until_s = self._queues.next_s()
                if until_s == math.inf:
                    self._thread = None
                    return
                now_s = self._clock.now_s()
                if now_s < until_s:
                    self._clock.wait(self._changed, until_s)
                    continue
                served = self._queues.advance(now_s)
            wake(served)


def wake(requests: Iterable[LeaseRequest]) -> None:
    """Tell those who were served or failed; never under the lock."""
    for request in requests:
        try:
            request.on_ready()
        except Exception:
            # The others must be woken all the same.
            logger.exception("a callback of a request for a key failed")
