"""HTTP clients alone, at the one thing asked of them: many small POSTs to one host."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import ssl

from measure import MODEL, at_a_time, body_of


def way(is_on_uvloop=True):
    """Make a way of asking of a client: given a job, a context of a call with a body."""

    def of(client):
        def asked(job, texts):
            async def main():
                async with client(job) as call:
                    await at_a_time(job, map(body_of, texts), call)

            return lambda: run(main(), is_on_uvloop)

        asked.__doc__ = client.__doc__
        return asked

    return of


def run(main, is_on_uvloop):
    if is_on_uvloop:
        import uvloop

        uvloop.run(main)
    else:
        asyncio.run(main)


def trusting():
    """TLS, but for who is at the other end: the server's certificate is new each time."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def asked_at(job):
    headers = {"authorization": f"Bearer {job.keys[0]}", "content-type": "application/json"}
    return f"{job.url}/chat/completions", headers


@contextlib.asynccontextmanager
async def aiohttp_client(job):
    from aiohttp import ClientSession, DummyCookieJar, TCPConnector

    url, headers = asked_at(job)
    connector = TCPConnector(limit=0, ssl=trusting())

    async def call(body):
        async with session.post(url, data=body, headers=headers) as reply:
            await reply.read()

    async with ClientSession(connector=connector, cookie_jar=DummyCookieJar()) as session:
        yield call


aiohttp_on_uvloop = way()(aiohttp_client)
aiohttp_on_asyncio = way(is_on_uvloop=False)(aiohttp_client)


@way()
@contextlib.asynccontextmanager
async def transport(job):
    """What this package sends with, from a request to a reply."""
    from openai_parallel_toolkit.core.records import Lease, Need, Request
    from openai_parallel_toolkit.core.redaction import Secret
    from openai_parallel_toolkit.transport.http import HttpTransport

    sender, numbers = HttpTransport(tls=trusting()), itertools.count()
    facts = {"path": "/chat/completions", "model": MODEL, "hash": "0" * 64}

    async def call(body):
        request = Request(**facts, body=body, prompt_tokens=30, reply_tokens=40)
        lease = Lease(
            id=next(numbers),
            key_name="key-1",
            secret=Secret(job.keys[0]),
            api_base=job.url,
            need=Need(model=MODEL, tokens=70),
            since_s=0.0,
        )
        await sender.send(request, lease, timeout_s=60)

    yield call
    await sender.close()


@way()
@contextlib.asynccontextmanager
async def httpx2(job):
    import httpx2

    url, headers = asked_at(job)
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)

    async def call(body):
        await client.post(url, content=body, headers=headers)

    async with httpx2.AsyncClient(
        limits=limits, timeout=60, trust_env=False, verify=trusting()
    ) as client:
        yield call


@way()
@contextlib.asynccontextmanager
async def pyreqwest(job):
    from pyreqwest.client import ClientBuilder

    url, headers = asked_at(job)
    builder = ClientBuilder().no_proxy().follow_redirects(False)
    if job.url.startswith("https"):
        builder = builder.danger_accept_invalid_certs(True)

    async def call(body):
        reply = await client.post(url).headers(headers).body_bytes(body).build().send()
        bytes(await reply.bytes())

    async with builder.build() as client:
        yield call
