"""Measure one way of asking, in a process of its own; medians of works that take turns.

    python benchmarks/measure.py WAY JOB

JOB is JSON with fields of `Job`. A way makes ready what it needs for some texts and returns what
asks for all of them. Only that is measured, after it was done once for a few other texts. Printed
as JSON are the figures of this process alone and what the server counted.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import ssl
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from urllib.request import urlopen

MODEL = "gpt-4o-mini"


@dataclass
class Job:
    """What is asked, of whom, how many at a time."""

    url: str
    calls: int = 1_000
    at_once: int = 20
    per_file: int = 1
    latency_s: float = 0.0
    keys: tuple = ("good",)
    rate_limit: int = 10_000_000
    #: Of the server: calls a second, and how many of them at once.
    allowed: tuple = (0, 0)
    folder: str = ""

    def fresh(self):
        return Path(tempfile.mkdtemp(dir=self.folder or None))


def texts_of(word, count):
    return [f"{word}: tell me about number {n}, in one short sentence." for n in range(count)]


def body_of(text):
    return json.dumps({"model": MODEL, "messages": messages(text)}).encode()


def messages(text):
    return [{"role": "user", "content": text}]


async def at_a_time(job, things, ask):
    """Ask for each thing in a task of its own, so many at a time."""
    room = asyncio.Semaphore(job.at_once)

    async def one(thing):
        async with room:
            await ask(thing)

    await asyncio.gather(*map(one, things))


def used():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime, usage.ru_nvcsw, usage.ru_nivcsw


def peak_mb(pid="self"):
    """The most memory that a live process had. Linux."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def counted(url):
    """What the server counts: answers and refusals, and the CPU it took."""
    trusting = ssl._create_unverified_context()
    with urlopen(url.removesuffix("/v1") + "/count", context=trusting) as reply:
        return Counter(json.loads(reply.read()))


def of_times(ended, calls):
    """Pace between the first and the last tenth, and the usual time from one to the next."""
    if len(ended) < 10:
        return {}
    ended = sorted(ended)
    first, last = len(ended) // 10, len(ended) * 9 // 10
    each = calls / len(ended)
    return {
        "steady_rate": each * (last - first) / (ended[last] - ended[first]),
        "gap_ms": 1000 * statistics.median(b - a for a, b in pairwise(ended)),
    }


def measure(way, job):
    way(job, texts_of("Warm up", 3 * job.per_file))()
    work = way(job, texts_of("Now", job.calls))
    gc.collect()
    served, before, since_s = counted(job.url), used(), time.monotonic()
    told = work()
    wall_s = time.monotonic() - since_s
    cpu_s, waited, put_off = (b - a for a, b in zip(before, used(), strict=True))
    served = counted(job.url) - served
    figures = {
        "wall_s": wall_s,
        "rate": job.calls / wall_s,
        "cpu_ms": 1000 * cpu_s / job.calls,
        "switches": waited / job.calls,
        "put_off": put_off / job.calls,
        "rss_mb": peak_mb(),
        "answered_share": served["answered"] / job.calls,
        "answered_rate": served["answered"] / wall_s,
        "limited_share": served["limited"] / job.calls,
        "refused": served["refused"],
        "server_us": 1e6 * served["cpu_s"] / max(1, served["answered"]),
    }
    if job.latency_s:
        figures["speed_up"] = job.calls * job.latency_s / wall_s
    if any(job.allowed):
        a_second, at_once = job.allowed
        figures["allowed_share"] = served["answered"] / (at_once + a_second * wall_s)
    return figures | (of_times(told, job.calls) if isinstance(told, list) else told or {})


def medians_s(works, rounds):
    """Seconds that each work takes: medians of rounds in which all of them take turns."""
    times = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            since_s = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - since_s)
    return {name: statistics.median(found) for name, found in times.items()}


def main():
    import clients
    import others
    import ours

    ways = vars(clients) | vars(others) | vars(ours)
    way, job = ways[sys.argv[1]], Job(**json.loads(sys.argv[2]))
    told = os.dup(1)
    os.dup2(2, 1)  # what a way itself prints is none of the figures
    figures = measure(way, job)
    os.write(told, json.dumps(figures).encode())


if __name__ == "__main__":
    main()
