"""Others' ways of asking, each in an environment of its own, and the least that asking takes."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from measure import MODEL, at_a_time, body_of, messages

# -- the openai package --------------------------------------------------------------------------


def openai_threads(job, texts):
    """The openai package's client in a pool of threads; of several keys, each in its turn."""
    import openai

    clients = itertools.cycle(
        [openai.OpenAI(base_url=job.url, api_key=key, max_retries=10) for key in job.keys]
    )
    ended = []

    def ask(client, text):
        try:
            client.chat.completions.create(model=MODEL, messages=messages(text))
        except openai.APIStatusError:
            return
        ended.append(time.monotonic())

    def work():
        with ThreadPoolExecutor(job.at_once) as pool:
            list(pool.map(ask, clients, texts))
        return ended

    return work


def openai_async(job, texts):
    """The openai package's async client behind a semaphore."""
    import openai

    ended = []

    async def main():
        async with openai.AsyncOpenAI(
            base_url=job.url, api_key=job.keys[0], max_retries=10
        ) as client:

            async def ask(text):
                await client.chat.completions.create(model=MODEL, messages=messages(text))
                ended.append(time.monotonic())

            await at_a_time(job, texts, ask)
        return ended

    return lambda: asyncio.run(main())


# -- packages for many calls ---------------------------------------------------------------------


def lm_deluge(job, texts):
    """lm-deluge: a model for each key, its limits out of the way."""
    from lm_deluge import LLMClient
    from lm_deluge.models import register_model, registry

    for n, key in enumerate(job.keys):
        os.environ[f"BENCHMARK_KEY_{n}"] = key
        if f"model-{n}" not in registry:
            register_model(f"model-{n}", MODEL, job.url, f"BENCHMARK_KEY_{n}")
    client = LLMClient(
        [f"model-{n}" for n in range(len(job.keys))],
        max_requests_per_minute=job.rate_limit,
        max_tokens_per_minute=10**12,
        max_concurrent_requests=job.at_once,
        max_attempts=10,
    )
    return lambda: client.process_prompts_sync(texts, show_progress=False) and None


def flexllm(job, texts):
    """flexllm: an endpoint for each key, its limits out of the way."""
    from flexllm import LLMClient

    places = [{"base_url": job.url, "model": MODEL, "api_key": key} for key in job.keys]
    client = LLMClient(
        **({"endpoints": places} if places[1:] else places[0]),
        concurrency_limit=job.at_once // len(places),
        max_qps=job.rate_limit // 60,
        retry_times=10,
    )
    asked = [messages(text) for text in texts]
    return lambda: client.chat_batch_sync(asked, show_progress=False) and None


def batchllm(job, texts):
    """batchllm-ai; it takes one key."""
    from batchllm import BatchConfig, BatchProcessor

    processor = BatchProcessor(
        BatchConfig(
            model=MODEL,
            max_concurrent=job.at_once,
            max_retries=10,
            api_key=job.keys[0],
            base_url=job.url,
        )
    )
    return lambda: asyncio.run(processor.process_items(texts)) and None


# -- the least that it takes ---------------------------------------------------------------------


class Bytes(asyncio.Protocol):
    """Sends one made-up request after the other and only counts the replies' bytes."""

    def __init__(self, host, bodies, key):
        self.head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n"
        )
        self.bodies, self.done, self.seen, self.whole = bodies, asyncio.Future(), 0, 0

    def connection_made(self, transport):
        self.transport = transport
        self.ask()

    def ask(self):
        body = next(self.bodies, None)
        if body is None:
            self.done.set_result(None)
            return
        self.transport.write(f"{self.head}content-length: {len(body)}\r\n\r\n".encode() + body)

    def data_received(self, data):
        self.seen += len(data)
        if not self.whole:
            end = data.index(b"\r\n\r\n") + 4
            self.whole = end + int(data[data.index(b"content-length: ") + 16 :].split(b"\r", 1)[0])
        if self.seen == self.whole:
            self.seen = self.whole = 0
            self.ask()


def bare_bytes(job, texts):
    """Sockets on a uvloop, and no thought about what comes: the server's ceiling."""
    import uvloop

    place = urlsplit(job.url)
    bodies = map(body_of, texts)

    async def main():
        loop, protocols = asyncio.get_running_loop(), []
        for _ in range(job.at_once):
            made = lambda: Bytes(place.netloc, bodies, job.keys[0])  # noqa: E731
            protocols.append((await loop.create_connection(made, place.hostname, place.port))[1])
        await asyncio.gather(*(protocol.done for protocol in protocols))

    return lambda: uvloop.run(main())


def bare_one_by_one(job, texts):
    """One request after the other by http.client; tells when each answer came."""
    place, ended = urlsplit(job.url), []
    headers = {"Authorization": f"Bearer {job.keys[0]}", "Content-Type": "application/json"}

    def work():
        connection = http.client.HTTPConnection(place.hostname, place.port)
        for text in texts:
            connection.request("POST", "/v1/chat/completions", body_of(text), headers)
            json.loads(connection.getresponse().read())
            ended.append(time.monotonic())
        return ended

    return work


def sleep_threads(job, texts):
    """Threads that sleep as long as a reply takes."""
    ended = []

    def wait(_):
        time.sleep(job.latency_s)
        ended.append(time.monotonic())

    def work():
        with ThreadPoolExecutor(job.at_once) as pool:
            list(pool.map(wait, texts))
        return ended

    return work


def sleep_async(job, texts):
    """Tasks that sleep as long as a reply takes."""
    ended, left = [], iter(texts)

    async def wait():
        for _ in left:
            await asyncio.sleep(job.latency_s)
            ended.append(time.monotonic())

    async def main():
        await asyncio.gather(*(wait() for _ in range(job.at_once)))
        return ended

    return lambda: asyncio.run(main())


def bare_files(job, texts):
    """What files alone take, asking nothing: read one, write one, sync and rename it."""
    root = job.fresh()
    for n, text in enumerate(texts):
        (root / f"{n}.in").write_text(text)

    def one(n):
        text = (root / f"{n}.in").read_text()
        with open(root / f"{n}.new", "w") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.rename(root / f"{n}.new", root / f"{n}.out")

    def work():
        with ThreadPoolExecutor(job.at_once) as pool:
            list(pool.map(one, range(len(texts))))

    return work
