"""Measure how soon the doors for requests answer, what they cost, and how the event loop waits.

    python benchmarks/doors.py

Printed are the best of three lists through APIRequester, within its allowance and with a large one,
at a server that takes 0.186 s for a reply; and of how much later than on an idle loop a heartbeat
comes while ApiQueue sends 500 requests; and the CPU of a call in this process: of the openai
package's own async client, of the same client through the door, and of arequest_openai_api. A busy
machine with two cores gave 0.25 s, 123 times as fast as one by one, and 38 ms; for the last
three, as a ratio, 3.0, 2.8 and 1.0.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
from contextlib import closing, contextmanager

import openai

from openai_parallel_toolkit import (
    APIKeyManager,
    ApiQueue,
    APIRequester,
    Gpt35Turbo,
    arequest_openai_api,
    async_openai_client,
)

LATENCY_S = 0.186


@contextmanager
def simulator(latency_s):
    command = [sys.executable, "-m", "openai_parallel_toolkit.simulator", "--keys", "good"]
    command += ["--latency", str(latency_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def prompts(count):
    return [[{"role": "user", "content": f"What is {n} + {n}?"}] for n in range(count)]


def list_s(url, count, rate_limit):
    """Seconds that a list takes."""
    keys = [{"key": "sim-good", "api_base": url}]
    with APIRequester("gpt-4o-mini", max_tokens=20, rate_limit=rate_limit, keys=keys) as api:
        since_s = time.perf_counter()
        api.get_responses_parallel(prompts(count))
        return time.perf_counter() - since_s


async def latest_s(until):
    """How much later than asked a heartbeat comes while `until` runs: its 99th percentile."""
    late_s = []
    task = asyncio.ensure_future(until)
    while not task.done():
        since_s = time.perf_counter()
        await asyncio.sleep(0.005)
        late_s.append(time.perf_counter() - since_s - 0.005)
    await task
    return sorted(late_s)[int(0.99 * (len(late_s) - 1))]


def heartbeat_s(url):
    """How much later a heartbeat comes beside 500 requests than beside nothing."""
    bodies = [{"model": "gpt-4o-mini", "messages": messages} for messages in prompts(500)]
    headers = {"Authorization": "Bearer sim-good"}
    queue = ApiQueue(f"{url}/chat/completions", headers, bodies, rate_limit=1e9)
    gc.collect()
    return -asyncio.run(latest_s(asyncio.sleep(0.5))) + asyncio.run(latest_s(queue.run()))


async def calls_cpu_ms(ask, count):
    """Milliseconds of this process's CPU that a call takes, of so many, 16 at a time."""
    room = asyncio.Semaphore(16)

    async def one(n):
        async with room:
            await ask(f"What is {n} + {n}?")

    await asyncio.gather(*map(one, range(20)))
    gc.collect()
    since_s = time.process_time()
    await asyncio.gather(*map(one, range(count)))
    return 1000 * (time.process_time() - since_s) / count


async def cpu_ms(url, count=500):
    """By way of asking, the least of three rounds that take turns."""
    with closing(APIKeyManager([{"key": "sim-good", "api_base": url}])) as keys:
        bare = openai.AsyncOpenAI(api_key="sim-good", base_url=url)
        door = async_openai_client(keys)

        def chat(client):
            return lambda text: client.chat.completions.create(
                model="gpt-4o-mini", messages=[{"role": "user", "content": text}]
            )

        ways = {
            "the openai package alone": chat(bare),
            "the openai package through the door": chat(door),
            "arequest_openai_api": lambda text: arequest_openai_api(Gpt35Turbo(text), keys),
        }
        async with bare, door:
            rounds = [[await calls_cpu_ms(ask, count) for ask in ways.values()] for _ in range(3)]
    return dict(zip(ways, map(min, zip(*rounds, strict=True)), strict=True))


def main():
    with simulator(LATENCY_S) as url:
        best_s = min(list_s(url, 100, 100) for _ in range(3))
        print(f"100 prompts within the allowance: {best_s:.2f} s")
        best_s = min(list_s(url, 600, 60_000) for _ in range(3))
        print(f"600 prompts: {600 * LATENCY_S / best_s:.0f} times as fast as one by one")
    with simulator(0.3) as url:
        late_s = min(heartbeat_s(url) for _ in range(3))
        print(f"a heartbeat beside 500 requests: {1000 * late_s:.1f} ms later")
    with simulator(0.0) as url:
        for way, least_ms in asyncio.run(cpu_ms(url)).items():
            print(f"{way}: {least_ms:.2f} ms of CPU a call")


if __name__ == "__main__":
    main()
