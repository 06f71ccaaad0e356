"""A small Batch API on loopback that keeps files and batches and can be told to misbehave."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeService:
    """A context manager; `url` is its address, `asked` what it was sent."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, Any]] = {}
        self.contents: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        #: Method, path with query, headers and body (none of forms) of each request.
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        #: Given instead of the next answers, in order.
        self.instead: list[Answer] = []
        self.page_size = 2
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self.url = ""

    def __enter__(self) -> FakeService:
        self._thread.start()
        assert self._ready.wait(40)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(40)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._runner.cleanup())
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application(client_max_size=300_000_000, middlewares=[self._watch])
        for base in ("/v1", "/openai"):
            app.router.add_post(f"{base}/files", self._upload)
            app.router.add_post(f"{base}/files/import", self._import)
            app.router.add_get(f"{base}/files", self._list_files)
            app.router.add_get(f"{base}/files/{{id}}", self._file)
            app.router.add_get(f"{base}/files/{{id}}/content", self._content)
            app.router.add_delete(f"{base}/files/{{id}}", self._delete)
            app.router.add_post(f"{base}/batches", self._create)
            app.router.add_get(f"{base}/batches", self._list_batches)
            app.router.add_get(f"{base}/batches/{{id}}", self._batch)
            app.router.add_post(f"{base}/batches/{{id}}/cancel", self._cancel)
        self._runner = web.AppRunner(app, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"

    @web.middleware
    async def _watch(self, request: web.Request, handler: Any) -> web.StreamResponse:
        is_form = request.content_type.startswith("multipart/")
        body = b"" if is_form else await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append((request.method, request.path_qs, headers, body))
        if self.instead:
            return await self.instead.pop(0)(request)
        return await handler(request)

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        sent = form["file"]
        assert isinstance(sent, web.FileField)
        return self.add_file(sent.filename, sent.file.read(), str(form["purpose"]))

    async def _import(self, request: web.Request) -> web.Response:
        asked = await request.json()
        return self.add_file(asked["filename"], b"", asked["purpose"], status="pending")

    def add_file(
        self, name: str, content: bytes, purpose: str = "batch", status: str = "processed"
    ) -> web.Response:
        id = f"file-{len(self.files) + 1}"
        self.contents[id] = content
        self.files[id] = {
            "id": id,
            "object": "file",
            "filename": name,
            "bytes": len(content),
            "purpose": purpose,
            "status": status,
            "created_at": 1_700_000_000,
        }
        return web.json_response(self.files[id])

    def _page(self, request: web.Request, rows: list[dict[str, Any]]) -> web.Response:
        after = request.query.get("after")
        start = 1 + [row["id"] for row in rows].index(after) if after else 0
        shown = rows[start : start + self.page_size]
        has_more = start + self.page_size < len(rows)
        return web.json_response({"object": "list", "data": shown, "has_more": has_more})

    async def _list_files(self, request: web.Request) -> web.Response:
        return self._page(request, list(self.files.values()))

    async def _list_batches(self, request: web.Request) -> web.Response:
        return self._page(request, list(self.batches.values())[::-1])

    async def _file(self, request: web.Request) -> web.Response:
        return self._one(self.files, request)

    async def _batch(self, request: web.Request) -> web.Response:
        return self._one(self.batches, request)

    def _one(self, shelf: dict[str, dict[str, Any]], request: web.Request) -> web.Response:
        found = shelf.get(request.match_info["id"])
        return web.json_response(found) if found else refusal(404, "not_found")

    async def _content(self, request: web.Request) -> web.StreamResponse:
        content = self.contents.get(request.match_info["id"])
        if content is None:
            return refusal(404, "not_found")
        reply = web.StreamResponse(headers={"content-length": str(len(content))})
        await reply.prepare(request)
        for start in range(0, len(content), 65536):
            await reply.write(content[start : start + 65536])
        return reply

    async def _delete(self, request: web.Request) -> web.Response:
        if self.files.pop(request.match_info["id"], None) is None:
            return refusal(404, "not_found")
        return web.json_response({"id": request.match_info["id"], "deleted": True})

    async def _create(self, request: web.Request) -> web.Response:
        id = f"batch-{len(self.batches) + 1}"
        asked = await request.json()
        self.batches[id] = {"id": id, "status": "validating", "created_at": 1, **asked}
        return web.json_response(self.batches[id])

    async def _cancel(self, request: web.Request) -> web.Response:
        batch = self.batches[request.match_info["id"]]
        if batch["status"] == "completed":
            return refusal(409, "batch_over")
        batch["status"] = "cancelling"
        return web.json_response(batch)


def refusal(status: int, code: str, headers: dict[str, str] | None = None) -> web.Response:
    """An error as OpenAI words it."""
    error = {"error": {"message": f"it is {code}", "type": "some_error", "code": code}}
    return web.json_response(error, status=status, headers=headers)


def refuse(status: int, code: str, headers: dict[str, str] | None = None) -> Answer:
    """Answer once with an error."""

    async def answer(_: web.Request) -> web.Response:
        return refusal(status, code, headers)

    return answer


async def cut_off(request: web.Request) -> web.StreamResponse:
    """Promise a body and hang up in the middle of it."""
    reply = web.StreamResponse(headers={"content-length": "1000000"})
    await reply.prepare(request)
    await reply.write(b"x" * 1000)
    assert request.transport is not None
    request.transport.abort()
    return reply
