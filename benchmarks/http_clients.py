"""Compare HTTP clients at the one thing asked of them: many small POSTs to one host.

A server in a process of its own answers each request with a fixed chat completion. Each client
runs in a fresh process: once for its pace and CPU time at 100 in flight, once for its memory at
1,000 in flight (the server holds all replies back until the last request has arrived).

    python benchmarks/http_clients.py [--quick] [--tls] [--clients NAME ...]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import itertools
import json
import os
import resource
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Call = Callable[[str], Awaitable[None]]

IN_FLIGHT = 100
HELD = 1_000
KEY = "false-key"
MODEL = "gpt-4o-mini"
MESSAGES = [{"role": "user", "content": "Summarise the following text. " + "lorem ipsum " * 150}]
BODY = json.dumps({"model": MODEL, "messages": MESSAGES}).encode()
HEADERS = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}


# --- the server ------------------------------------------------------------------------------


def _completion() -> bytes:
    message = {"role": "assistant", "content": "dolor sit amet " * 40}
    body = json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": MODEL,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 400, "completion_tokens": 200, "total_tokens": 600},
        }
    ).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    limits = "x-ratelimit-limit-requests: 500\r\nx-ratelimit-remaining-requests: 499"
    return f"{head}\r\n{limits}\r\nx-request-id: req_1\r\n\r\n".encode() + body


class Server(asyncio.Protocol):
    """Answers POSTs on one connection; those below /hold wait for each other."""

    reply = _completion()
    held: list[asyncio.Transport] = []  # noqa: RUF012

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.seen = b""

    def data_received(self, data: bytes) -> None:
        self.seen += data
        while (end := self.seen.find(b"\r\n\r\n")) >= 0:
            head = self.seen[:end].lower()
            start = head.find(b"content-length:") + len(b"content-length:")
            whole = end + 4 + int(head[start:].split(b"\r", 1)[0])
            if len(self.seen) < whole:
                return
            self.seen = self.seen[whole:]
            self._answer(is_held=head.startswith(b"post /hold"))

    def _answer(self, *, is_held: bool) -> None:
        if not is_held:
            self.transport.write(self.reply)
            return
        self.held.append(self.transport)
        if len(self.held) == HELD:
            for transport in self.held:
                transport.write(self.reply)
            self.held.clear()


def _certificate(ca_file: str) -> ssl.SSLContext:
    import trustme

    authority = trustme.CA()
    authority.cert_pem.write_to_path(ca_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


async def serve(ca_file: str) -> None:
    context = _certificate(ca_file) if ca_file else None
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Server, "127.0.0.1", 0, backlog=HELD, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# --- the clients -----------------------------------------------------------------------------


def trusted() -> list[bytes]:
    """The benchmark's own certificate authority, when there is one."""
    ca_file = os.environ.get("BENCHMARK_CA")
    if not ca_file:
        return []
    with open(ca_file, "rb") as file:
        return [file.read()]


def context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=os.environ.get("BENCHMARK_CA") or None)


@contextlib.asynccontextmanager
async def pyreqwest(base: str) -> AsyncIterator[Call]:
    from pyreqwest.client import ClientBuilder

    builder = ClientBuilder().no_proxy().follow_redirects(enable=False)
    for authority in trusted():
        builder = builder.add_root_certificate_pem(authority)
    client = builder.build()

    async def call(path: str) -> None:
        request = client.post(base + path).headers(HEADERS).body_bytes(BODY).build()
        reply = await request.send()
        bytes(await reply.bytes())

    async with client:
        yield call


@contextlib.asynccontextmanager
async def aiohttp(base: str) -> AsyncIterator[Call]:
    from aiohttp import ClientSession, DummyCookieJar, TCPConnector

    session = ClientSession(
        connector=TCPConnector(limit=0, ssl=context()), cookie_jar=DummyCookieJar()
    )

    async def call(path: str) -> None:
        async with session.post(base + path, data=BODY, headers=HEADERS) as reply:
            await reply.read()

    async with session:
        yield call


@contextlib.asynccontextmanager
async def package(base: str) -> AsyncIterator[Call]:
    """The package's own, over connections of its own."""
    from openai_parallel_toolkit.core.records import Lease, Need, Request
    from openai_parallel_toolkit.core.redaction import Secret
    from openai_parallel_toolkit.transport.http import HttpTransport

    transport = HttpTransport(tls=context())
    request = Request(
        path="/chat/completions",
        model=MODEL,
        body=BODY,
        hash="0" * 64,
        prompt_tokens=400,
        reply_tokens=200,
    )
    numbers = itertools.count()

    async def call(path: str) -> None:
        lease = Lease(
            id=next(numbers),
            key_name="key-1",
            secret=Secret(KEY),
            api_base=base + path,
            need=Need(model=MODEL, tokens=600),
            since_s=0.0,
        )
        await transport.send(request, lease, timeout_s=60)

    yield call
    await transport.close()


@contextlib.asynccontextmanager
async def httpx2(base: str) -> AsyncIterator[Call]:
    import httpx2

    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    client = httpx2.AsyncClient(limits=limits, timeout=60, trust_env=False, verify=context())

    async def call(path: str) -> None:
        await client.post(base + path, content=BODY, headers=HEADERS)

    async with client:
        yield call


@contextlib.asynccontextmanager
async def openai_async(base: str) -> AsyncIterator[Call]:
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    http = DefaultAsyncHttpxClient(verify=context())
    client = AsyncOpenAI(api_key=KEY, base_url=base, max_retries=0, http_client=http)
    lanes = {path: client.with_options(base_url=base + path) for path in ("/v1", "/hold")}

    async def call(path: str) -> None:
        create: Any = lanes[path].chat.completions.create
        await create(model=MODEL, messages=MESSAGES)

    async with client:
        yield call


@contextlib.asynccontextmanager
async def openai_threads(base: str) -> AsyncIterator[Call]:
    from openai import DefaultHttpxClient, OpenAI

    http = DefaultHttpxClient(verify=context())
    client = OpenAI(api_key=KEY, base_url=base, max_retries=0, http_client=http)
    lanes = {path: client.with_options(base_url=base + path) for path in ("/v1", "/hold")}
    loop = asyncio.get_running_loop()

    def block(path: str) -> None:
        create: Any = lanes[path].chat.completions.create
        create(model=MODEL, messages=MESSAGES)

    threads = HELD if sys.argv[-1] == "memory" else IN_FLIGHT
    with client, ThreadPoolExecutor(threads) as pool:

        async def call(path: str) -> None:
            await loop.run_in_executor(pool, block, path)

        yield call


CLIENTS = {
    "pyreqwest": (pyreqwest, True),
    "aiohttp": (aiohttp, True),
    "aiohttp, plain asyncio": (aiohttp, False),
    "this package": (package, True),
    "httpx2": (httpx2, True),
    "openai async": (openai_async, True),
    "openai, threads": (openai_threads, False),
}


# --- the measuring ---------------------------------------------------------------------------


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _pace(call: Call, calls: int) -> dict[str, float]:
    left = iter(range(calls))

    async def sender() -> None:
        for _ in left:
            await call("/v1")

    await asyncio.gather(*(call("/v1") for _ in range(IN_FLIGHT)))  # connections are open now
    cpu_s, start_s = _cpu_s(), time.perf_counter()
    await asyncio.gather(*(sender() for _ in range(IN_FLIGHT)))
    took_s = time.perf_counter() - start_s
    return {"calls_per_s": calls / took_s, "cpu_ms": 1000 * (_cpu_s() - cpu_s) / calls}


async def _memory(call: Call) -> dict[str, float]:
    await asyncio.gather(*(call("/hold") for _ in range(HELD)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"rss_mb": peak / (1024 * 1024 if sys.platform == "darwin" else 1024)}


async def measure(name: str, base: str, calls: int, what: str) -> dict[str, float]:
    async with CLIENTS[name][0](base) as call:
        return await (_memory(call) if what == "memory" else _pace(call, calls))


def _one(name: str, base: str, calls: int, what: str) -> None:
    if CLIENTS[name][1] and importlib.util.find_spec("uvloop"):
        import uvloop

        factory = uvloop.new_event_loop
    else:
        factory = asyncio.new_event_loop
    loop = factory()
    try:
        print(json.dumps(loop.run_until_complete(measure(name, base, calls, what))))
    finally:
        loop.close()


def _in_fresh_process(*args: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__, *args], check=True, capture_output=True, text=True
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _row(name: str, base: str, runs: int, calls: int) -> str:
    figures = [
        _in_fresh_process("--one", name, base, str(calls), "pace")
        | _in_fresh_process("--one", name, base, str(calls), "memory")
        for _ in range(runs)
    ]
    pace, cpu_ms, rss_mb = (
        statistics.median(run[what] for run in figures)
        for what in ("calls_per_s", "cpu_ms", "rss_mb")
    )
    return f"{name:24}{pace:10.0f}{cpu_ms:14.3f}{rss_mb:26.0f}"


def compare(names: list[str], runs: int, calls: int, ca_file: str) -> None:
    print(f"{'client':24}{'calls/s':>10}{'CPU ms/call':>14}{'RSS MB, 1,000 in flight':>26}")
    os.environ["BENCHMARK_CA"] = ca_file
    with subprocess.Popen(
        [sys.executable, __file__, "--serve", ca_file], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout
        port = server.stdout.readline().strip()
        base = f"{'https' if ca_file else 'http'}://127.0.0.1:{port}"
        for name in names:
            print(_row(name, base, runs, calls), flush=True)
        server.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one run of 1,000 calls each")
    parser.add_argument("--tls", action="store_true", help="over TLS, as providers are reached")
    parser.add_argument("--clients", nargs="+", choices=CLIENTS, default=list(CLIENTS))
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve is not None:
        asyncio.run(serve(args.serve))
    elif args.one:
        name, base, calls, what = args.one
        _one(name, base, int(calls), what)
    else:
        runs, calls = (1, 1_000) if args.quick else (3, 4_000)
        with tempfile.TemporaryDirectory() as folder:
            compare(args.clients, runs, calls, os.path.join(folder, "ca.pem") if args.tls else "")


if __name__ == "__main__":
    main()
