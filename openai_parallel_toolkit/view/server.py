"""Serve the page on this machine, on a thread with an event loop of its own.

Who asks must be a browser that was pointed here: the Host and the Origin of each request are
checked, and at another address than this machine's own a random token is asked for besides.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp import web

from ..core.errors import ToolkitError, UsageError
from ..core.threads import start_thread
from .metrics import CONTENT_TYPE
from .page import new_nonce, page, policy
from .source import Source

LOOPBACK = "127.0.0.1"
#: Where it is looked for first, so that its address stays the same.
USUAL_PORT = 8765
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_DETAILS = ("files", "file", "calls", "call")
_OWN_NAMES = ("localhost", "127.0.0.1", "[::1]")
#: What is waited for at the end.
_END_S = 2.0
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ViewServer:
    """A server of one source; `start` returns its address, `close` ends it."""

    def __init__(self, source: Source, *, host: str = LOOPBACK, port: int | None = None) -> None:
        """Take the port; None: the usual one, or any that is free.

        Raises:
            UsageError: the port or the address cannot be had.
        """
        self._source = source
        self._host = host
        self._is_local = _is_local(host)
        self._token = "" if self._is_local else secrets.token_urlsafe(24)
        self._socket = _listen(host, port)
        self._port: int = self._socket.getsockname()[1]
        self._worker = ThreadPoolExecutor(1, "view-journal")
        self._loop = asyncio.new_event_loop()
        self._is_up = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The address to open, with the token if there is one."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        token = f"?token={self._token}" if self._token else ""
        return f"http://{host}:{self._port}/{token}"

    def start(self) -> None:
        """Begin to serve, on a thread of its own."""
        self._thread = start_thread(self._serve, name="view-server")
        self._is_up.wait()

    def close(self) -> None:
        """Serve no more."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_END_S)
        self._worker.shutdown(wait=True, cancel_futures=True)
        self._source.close()
        self._socket.close()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=_END_S)
        self._loop.run_until_complete(runner.setup())
        self._loop.run_until_complete(web.SockSite(runner, self._socket).start())
        self._loop.call_soon(self._is_up.set)
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/", self._page)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/calls.jsonl", self._download)
        for name in ("now", "charts", "compared", *_DETAILS):
            app.router.add_get(f"/api/{name}", self._answer)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Let in who may ask, and give every answer the headers that keep others out."""
        refusal = self._refusal(request)
        try:
            if refusal:
                answer: web.StreamResponse = web.Response(status=403, text=refusal)
            else:
                answer = await handler(request)
        except web.HTTPException as exc:
            answer = web.Response(status=exc.status, text=exc.reason)
        except ToolkitError as exc:
            status = 400 if isinstance(exc, UsageError) else 503
            answer = web.json_response({"error": exc.message}, status=status)
        if not answer.prepared:
            answer.headers.update(_HEADERS)
            answer.headers.setdefault("Content-Security-Policy", "default-src 'none'")
        return answer

    def _refusal(self, request: web.Request) -> str:
        host = request.headers.get("Host", "")
        if self._is_local and host not in {f"{name}:{self._port}" for name in _OWN_NAMES}:
            return f"This page is at {self.url} alone."
        origin = request.headers.get("Origin")
        if origin is not None and origin != f"http://{host}":
            return "This page answers no other page."
        site = request.headers.get("Sec-Fetch-Site", "none")
        is_opened = request.path == "/" and request.headers.get("Sec-Fetch-Mode") == "navigate"
        if site not in ("none", "same-origin") and not is_opened:
            return "This page answers no other page."
        given = request.query.get("token", "")
        if self._token and not secrets.compare_digest(given.encode(), self._token.encode()):
            return "The address lacks its token: open the one that `view` printed."
        return ""

    async def _page(self, request: web.Request) -> web.Response:
        del request
        nonce = new_nonce()
        told = {"token": self._token, "title": self._source.place.title}
        response = web.Response(text=page(told, nonce=nonce), content_type="text/html")
        response.headers["Content-Security-Policy"] = policy(nonce)
        return response

    async def _answer(self, request: web.Request) -> web.Response:
        what = request.path.rpartition("/")[2]
        if what in _DETAILS:
            told = await self._read(self._source.details, what, dict(request.query))
        else:
            told = await self._read(getattr(self._source, what))
        return web.json_response(told)

    async def _metrics(self, request: web.Request) -> web.Response:
        del request
        text = await self._read(self._source.metrics)
        return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})

    async def _download(self, request: web.Request) -> web.StreamResponse:
        """Hand out what a search finds, a JSON line for each call."""
        disposition = {"Content-Disposition": 'attachment; filename="calls.jsonl"'}
        response = web.StreamResponse(headers={**_HEADERS, **disposition})
        response.content_type = "application/jsonl"
        await response.prepare(request)
        async for call in self._found(dict(request.query)):
            await response.write(json.dumps(call).encode() + b"\n")
        await response.write_eof()
        return response

    async def _found(self, asked: dict[str, str]) -> AsyncIterator[dict[str, Any]]:
        more: int | None = None
        while True:
            page_asked = asked if more is None else {**asked, "before": str(more)}
            found = await self._read(self._source.details, "calls", page_asked)
            for call in found["calls"]:
                yield await self._read(self._source.details, "call", {"id": str(call["id"])})
            more = found["more"]
            if more is None:
                return

    async def _read(self, read: Callable[..., Any], *args: Any) -> Any:
        """Read the journal on the one thread that does."""
        return await self._loop.run_in_executor(self._worker, read, *args)


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int | None) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    wanted = (USUAL_PORT, 0) if port is None else (port,)
    for one in wanted:
        try:
            return socket.create_server((host, one), family=family)
        except OverflowError:
            raise UsageError(f"port {one}: expected 0 to 65535") from None
        except OSError as exc:
            if one == wanted[-1]:
                raise UsageError(
                    f"the page cannot be served at {host}:{one} ({exc.strerror}); choose another "
                    "with --port, 0 for any that is free"
                ) from exc
    raise AssertionError
