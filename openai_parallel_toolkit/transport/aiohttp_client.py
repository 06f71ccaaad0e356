"""Carry exchanges with aiohttp: through proxies, of files, and what else is out of the ordinary.

A POST on a kept connection that the server just closed is not repeated by aiohttp.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import ssl
from collections.abc import Iterator
from typing import BinaryIO

import aiohttp
from multidict import CIMultiDict

from ..core.filesystem import storage_error
from ..core.records import RawReply
from .aiohttp_connector import Connector
from .aiohttp_errors import plain_error
from .aiohttp_reply import read_body
from .base import HttpExchange, Upload
from .exchange_failures import HEADER_BYTES, HEADERS
from .proxies import Proxy
from .reply_deadline import ReplyDeadline
from .request_head import RequestHead
from .send_progress import SendProgress

#: Patience with a slow line: an upload may take this much longer than its timeout.
_SLOWEST_BYTES_PER_S = 50_000
#: Larger bodies are written in pieces.
_WHOLE_BYTES = 1_048_576


class AiohttpClient:
    """One session of aiohttp's; belongs to one event loop."""

    def __init__(self, *, tls: ssl.SSLContext, idle_s: float, most_bytes: int) -> None:
        """Open no connection yet; `most_bytes`: the largest reply that is taken, unpacked."""
        self._most_bytes = most_bytes
        self._session = aiohttp.ClientSession(
            connector=Connector(idle_s=idle_s, limit=0, ssl=tls),
            max_line_size=HEADER_BYTES,
            max_field_size=HEADER_BYTES,
            max_headers=HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            # aiohttp would read ~/.netrc besides the proxies.
            trust_env=False,
        )

    async def carry(
        self,
        exchange: HttpExchange,
        head: RequestHead,
        request_id: str,
        progress: SendProgress,
        *,
        connect_s: float,
        timeout_s: float,
    ) -> RawReply:
        """Carry out an exchange and return the whole reply.

        Args:
            connect_s: seconds until there must be a connection.
            timeout_s: as for `HttpTransport.run`.

        Raises:
            StorageError: the file to send cannot be read, or the reply cannot be written.
            NotConnected: nothing was sent.
            Exception: no whole reply came.
        """
        proxy = head.proxy
        headers, credentials = CIMultiDict(head.headers), _proxy_credentials(proxy)
        headers.setdefault("X-Client-Request-Id", request_id)
        if head.url.scheme != "https":
            headers.update(credentials)  # there is no CONNECT that would carry them
        try:
            with _payload(exchange) as payload, _deadline(exchange, timeout_s, progress):
                async with self._session.request(
                    exchange.method,
                    head.url,
                    data=payload,
                    headers=headers,
                    proxy=proxy.url if proxy is not None else None,
                    proxy_headers=credentials or None,
                    timeout=_timeout(exchange, connect_s, timeout_s),
                    allow_redirects=False,
                ) as reply:
                    told = reply.headers.get("Keep-Alive")
                    if told is not None and progress.connection is not None:
                        progress.connection.note_keep_alive(told)
                    body = await read_body(reply, exchange.save_to, self._most_bytes)
        except aiohttp.ClientError as exc:
            raise plain_error(exc) from exc
        told_headers = {name.lower(): value for name, value in reply.headers.items()}
        return RawReply(status=reply.status, headers=told_headers, body=body)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


@contextlib.contextmanager
def _payload(exchange: HttpExchange) -> Iterator[bytes | io.BytesIO | aiohttp.FormData | None]:
    upload, body = exchange.upload, exchange.body
    if upload is None:
        # aiohttp would write all of a large one before anything else.
        yield body if body is None or len(body) <= _WHOLE_BYTES else io.BytesIO(body)
        return
    try:
        file = open(upload.path, "rb")  # noqa: SIM115 - the next line closes it
    except OSError as exc:
        raise storage_error(exc, upload.path) from exc
    with file:
        yield _form(upload, file)


def _form(upload: Upload, file: BinaryIO) -> aiohttp.FormData:
    form = aiohttp.FormData(quote_fields=False)
    for name, value in upload.fields.items():
        form.add_field(name, value)
    form.add_field("file", file, filename=upload.name, content_type="application/jsonl")
    return form


@contextlib.contextmanager
def _deadline(exchange: HttpExchange, timeout_s: float, progress: SendProgress) -> Iterator[None]:
    """Bound the whole exchange; of one that is saved, the silences are bounded."""
    if exchange.save_to is not None:
        yield
        return
    if exchange.upload is not None:
        timeout_s += os.path.getsize(exchange.upload.path) / _SLOWEST_BYTES_PER_S
    loop = asyncio.get_running_loop()
    deadline = ReplyDeadline(loop, lambda: progress.connection)
    deadline.begin(loop.time() + timeout_s)
    try:
        yield
    finally:
        deadline.close()


def _timeout(exchange: HttpExchange, connect_s: float, timeout_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=None,
        sock_read=timeout_s if exchange.save_to is not None else None,
        connect=connect_s,
        # No rounding to whole seconds: it could make the two meet.
        ceil_threshold=float("inf"),
    )


def _proxy_credentials(proxy: Proxy | None) -> dict[str, str]:
    if proxy is None or proxy.password is None:
        return {}
    value = aiohttp.encode_basic_auth(proxy.user, proxy.password.reveal())
    return {"Proxy-Authorization": value}
