"""Carry messages between the head and a worker: pickled, in batches, each behind its length.

Nothing is unpickled that did not come over a connection which is known to lead to the other end: a
pair of sockets that the worker has inherited.
"""

from __future__ import annotations

import asyncio
import pickle
import struct
from collections.abc import Callable
from typing import Any, cast

from ...core.describe import describe
from ...core.errors import ToolkitError
from ...core.loop_calls import LoopCalls
from .messages import Came

_LENGTH = struct.Struct("!Q")


def packed(messages: list[Any]) -> bytes:
    """Return messages as they travel; an error that cannot be pickled is told in words."""
    try:
        body = pickle.dumps(messages, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception:  # noqa: BLE001 - whatever an object of others raises when it is pickled
        body = pickle.dumps([_sound(one) for one in messages], protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(body)) + body


def _sound(message: Any) -> Any:
    try:
        pickle.dumps(message)
    except Exception as exc:
        if not (isinstance(message, Came) and isinstance(message.came, BaseException)):
            raise
        error = ToolkitError(f"{describe(message.came)} (it cannot be carried: {describe(exc)})")
        return message._replace(came=error)
    return message


class MessageReader:
    """Puts what comes in pieces together again."""

    def __init__(self) -> None:
        self._received = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        """Take in the next piece, and return the messages that are whole."""
        self._received += data
        messages: list[Any] = []
        while len(self._received) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._received)[0]
            if len(self._received) < end:
                break
            with memoryview(self._received) as view:
                messages += pickle.loads(view[_LENGTH.size : end])  # noqa: S301 - see above
            del self._received[:end]
        return messages


class Link(asyncio.Protocol):
    """One end of a connection; what is told in one turn of the loop goes out in one write."""

    def __init__(
        self, calls: LoopCalls, hear: Callable[[Any], object], on_lost: Callable[[], object]
    ) -> None:
        """`hear` gets each message, `on_lost` is called at the end; both on the loop's thread."""
        self._calls = calls
        self._hear = hear
        self._on_lost = on_lost
        self._reader = MessageReader()
        self._told: list[Any] = []
        self._transport: asyncio.Transport | None = None
        self._is_lost = False

    def tell(self, message: Any) -> None:
        """Send a message; any thread may. One that is told before the connection is there waits."""
        self._calls.soon(self._add, message)

    def _add(self, message: Any) -> None:
        self._told.append(message)
        if len(self._told) == 1:
            self._calls.loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._transport is None or not self._told:
            return
        told, self._told = self._told, []
        if not self._is_lost:
            self._transport.write(packed(told))

    def close(self) -> None:
        """End the connection once all is sent; call it on the loop's thread."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._flush()

    def data_received(self, data: bytes) -> None:
        for message in self._reader.feed(data):
            self._hear(message)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._is_lost = True
        self._on_lost()
