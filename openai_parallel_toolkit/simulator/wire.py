"""Read requests with aiohttp's parser, and put each reply on the wire, well or badly.

aiohttp's server around that parser takes as much CPU again as a whole request does here, and
headers of its making cannot be spoilt.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import cast

from aiohttp import BodyPartReader, MultipartReader, StreamReader
from aiohttp.http import HttpProcessingError, HttpRequestParser, RawRequestMessage

from .faults import DELIVERIES, SILENT, Fault, kept_bytes
from .http_messages import HttpReply, HttpRequest, UploadForm, chunk_bytes, head_bytes, reply_bytes
from .keys import key_value_of
from .refusals import error_reply
from .service import Service

#: SO_LINGER on, zero seconds: closing sends RST instead of FIN.
_LINGER = struct.pack("ii", 1, 0)
_RESET = frozenset({"reset_before", "reset_during"})
_CLOSED = frozenset({"cut_body", "cut_chunked", "close_before", "close_idle"})
#: Of a body; no request comes near it.
_MOST_UNREAD_BYTES = 2**30


class Wire:
    """The server's end of all connections. Lives in the event loop's thread."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.connections: set[_Connection] = set()
        self.is_stopping = False

    def connection(self) -> _Connection:
        """Return the protocol of a new connection."""
        return _Connection(self)

    async def stop(self) -> None:
        """Break off all connections."""
        self.is_stopping = True
        # Some tasks accept clients: a server that is closed under them leaves sockets open.
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for connection in self.connections:
                connection.transport.abort()
            await asyncio.wait(tasks)


class _Connection(asyncio.Protocol):
    """One client's connection: requests in, replies out, one at a time."""

    transport: asyncio.Transport

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._parser = HttpRequestParser(
            self,  # type: ignore[arg-type] # it has what the parser calls
            self._loop,
            _MOST_UNREAD_BYTES,
            auto_decompress=False,
        )
        self._requests: deque[tuple[RawRequestMessage, StreamReader]] = deque()
        self._mistake: HttpProcessingError | None = None
        #: Done when bytes came in, or all went out.
        self._changed = self._loop.create_future()
        #: Closes the connection as idle.
        self._closer: asyncio.TimerHandle | None = None
        self._bytes_sent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        # Any byte that the kernel does not take at once pauses, so that `finish` knows of it.
        self.transport.set_write_buffer_limits(high=0)
        self._wire.connections.add(self)
        self._task = self._loop.create_task(self._serve())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._wire.connections.discard(self)
        self._task.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._requests += self._parser.feed_data(data)[0]
        except HttpProcessingError as exc:
            self._mistake = exc
        self.resume_writing()

    def resume_writing(self) -> None:
        if not self._changed.done():
            self._changed.set_result(None)

    def pause_reading(self) -> None:
        pass  # bodies are wanted whole

    def resume_reading(self, *, resume_parser: bool = True) -> None:
        pass

    def send(self, data: bytes) -> None:
        """Write bytes."""
        self._bytes_sent += len(data)
        self.transport.write(data)

    async def finish(self) -> None:
        """Wait until the kernel has taken all bytes."""
        while self.transport.get_write_buffer_size():
            await self._change()

    async def _change(self) -> None:
        self._changed = self._loop.create_future()
        await self._changed

    async def _more(self) -> None:
        if self._mistake is not None:
            raise self._mistake
        await self._change()

    async def _serve(self) -> None:
        try:
            while not self.transport.is_closing():
                while not self._requests:
                    await self._more()
                await self._answer(*self._requests.popleft())
        except HttpProcessingError:  # which may hold a key
            self.send(reply_bytes(error_reply(400, "This is not HTTP.")))
        finally:
            self.transport.close()

    async def _answer(self, message: RawRequestMessage, payload: StreamReader) -> None:
        if self._closer is not None:
            self._closer.cancel()
        if "Expect" in message.headers:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not payload.is_eof():
            await self._more()
        service = self._wire.service
        decision, row = service.handle(await _read(message, payload))
        fault = decision.fault
        self._bytes_sent = 0
        is_left = True
        try:
            if decision.delay_s > 0:
                await asyncio.sleep(decision.delay_s)
            await _deliver(self, decision.reply, fault)
            is_left = False
        finally:
            if row is not None:
                client_closed = is_left and not self._wire.is_stopping
                service.ledger.leave(row, bytes_sent=self._bytes_sent, client_closed=client_closed)
        if message.should_close:
            self.transport.close()
        elif fault is not None and fault.kind == "close_idle" and fault.seconds:
            self._closer = self._loop.call_later(fault.seconds, self.transport.close)


async def _read(message: RawRequestMessage, payload: StreamReader) -> HttpRequest:
    headers, url, form = message.headers, message.url, None
    if headers.get("Content-Type", "").lower().startswith("multipart/form-data"):
        form = await _form(message, payload)
    return HttpRequest(
        method=message.method,
        path=url.path,
        query=url.query if url.raw_query_string else {},
        key_value=key_value_of(headers),
        body=payload.read_nowait(),
        form=form,
    )


async def _form(message: RawRequestMessage, payload: StreamReader) -> UploadForm | None:
    """Return the form that a body holds; None: it cannot be read."""
    fields: dict[str, str] = {}
    file_name, content = None, b""
    try:
        reader = MultipartReader(message.headers, payload)
        while (part := await reader.next()) is not None:
            if not isinstance(part, BodyPartReader):
                return None
            data = bytes(await part.read())
            if part.filename is not None:
                file_name, content = part.filename, data
            elif part.name is not None:
                fields[part.name] = data.decode("utf-8")
    except (ValueError, RuntimeWarning, HttpProcessingError):
        return None  # aiohttp only warns of some, which -W error makes errors
    return UploadForm(fields=fields, file_name=file_name, content=content)


async def _deliver(out: _Connection, reply: HttpReply, fault: Fault | None) -> None:
    """Deliver a reply as the fault says; kinds that are none of DELIVERIES are sent whole."""
    kind = fault.kind if fault is not None and fault.kind in DELIVERIES else ""
    if fault is None or not kind:
        out.send(reply_bytes(reply))
        await out.finish()
        return
    seconds = 1.0 if fault.seconds is None else fault.seconds
    if kind == "never":
        await asyncio.get_running_loop().create_future()  # until the client hangs up
    if kind == "slow":
        await asyncio.sleep(seconds)
    if kind == "drip":
        await _drip(out, reply, seconds)
    elif kind not in SILENT:
        out.send(_sent_part(reply, fault))
    if kind in _RESET:
        peer = out.transport.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        out.transport.abort()
    elif kind in _CLOSED and not (kind == "close_idle" and fault.seconds):
        out.transport.close()
    else:
        await out.finish()


def _sent_part(reply: HttpReply, fault: Fault) -> bytes:
    if fault.kind in ("close_idle", "slow"):
        return reply_bytes(reply)
    body = reply.body
    part = body[: kept_bytes(reply, fault)]
    if fault.kind == "cut_chunked":
        return head_bytes(reply, length_bytes=None) + (chunk_bytes(part) if part else b"")
    return head_bytes(reply, length_bytes=len(body)) + part


async def _drip(out: _Connection, reply: HttpReply, interval_s: float) -> None:
    body = reply.body
    out.send(head_bytes(reply, length_bytes=len(body)))
    for position in range(len(body)):
        out.send(body[position : position + 1])
        await asyncio.sleep(interval_s)
