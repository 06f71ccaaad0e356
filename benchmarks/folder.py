"""Measure whole folders: throughput beside a bare loop, CPU beside the openai client, memory.

    python benchmarks/folder.py [--quick]

Everything is measured in one run on one machine against the simulator in a process of its own;
each part is repeated and medians and ratios are printed. CPU is that of the client's process alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from openai_parallel_toolkit import (
    Gpt35Turbo,
    ParallelToolkit,
    arequest_openai_api,
    request_openai_api,
)

LATENCY_S = 0.2


class Blocking(ParallelToolkit):
    """One call a file; notes when each file was finished."""

    finished: list[float]

    def process_input(self, file):
        return file.read()

    def process_data(self, data):
        return request_openai_api(Gpt35Turbo(content=data))

    def process_output(self, data, output_file_without_ext):
        with open(output_file_without_ext + ".txt", "w") as out:
            out.write(data)
        self.finished.append(time.monotonic())


class Async(Blocking):
    async def process_data(self, data):
        return await arequest_openai_api(Gpt35Turbo(content=data))


def prompts(count):
    return [f"Tell me about number {n}, in one short sentence." for n in range(count)]


@contextmanager
def simulator(latency_s):
    command = [sys.executable, "-m", "openai_parallel_toolkit.simulator", "--port", "0"]
    command += ["--keys", "good", "--latency", str(latency_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def cpu_s():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def rss_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def steady_rate(finished):
    """Files per second between the first and the last tenth."""
    finished = sorted(finished)
    first, last = len(finished) // 10, len(finished) * 9 // 10
    return (last - first) / (finished[last] - finished[first])


# -- what is measured, each in a fresh process -------------------------------------------------


def toolkit(url, kind, count, at_once):
    root = Path(tempfile.mkdtemp(dir=os.environ["BENCHMARK_FOLDER"]))
    (root / "in").mkdir()
    for n, prompt in enumerate(prompts(count)):
        (root / "in" / f"{n:06}.txt").write_text(prompt)
    (root / "config.json").write_text(json.dumps({"api_keys": ["sim-good"], "api_base": url}))
    os.chmod(root / "config.json", 0o600)
    hooks = {"blocking": Blocking, "async": Async}[kind]
    job = hooks(
        root / "config.json", root / "in", root / "out", num_threads=at_once, progress=False
    )
    job.finished = []
    before_s, since = cpu_s(), time.monotonic()
    summary = job.run()
    wall_s = time.monotonic() - since
    assert summary.done == count, summary
    return {
        "rate": steady_rate(job.finished),
        "wall_rate": count / wall_s,
        "cpu_ms": (cpu_s() - before_s) / count * 1000,
        "rss_mb": rss_mb(),
    }


def bare_files(url, kind, count, at_once):
    """What the files alone cost: read one, write one, bring it to the disk, rename it."""
    root = Path(tempfile.mkdtemp(dir=os.environ["BENCHMARK_FOLDER"]))
    for n, prompt in enumerate(prompts(count)):
        (root / f"{n}.in").write_text(prompt)

    def work(n):
        text = (root / f"{n}.in").read_text()
        with open(root / f"{n}.new", "w") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.rename(root / f"{n}.new", root / f"{n}.out")

    before_s, since = cpu_s(), time.monotonic()
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(work, range(count)))
    wall_s = time.monotonic() - since
    return {"wall_rate": count / wall_s, "cpu_ms": (cpu_s() - before_s) / count * 1000}


def bare_threads(url, kind, count, at_once):
    finished = []

    def work(_):
        time.sleep(LATENCY_S)
        finished.append(time.monotonic())

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(work, range(count)))
    return {"rate": steady_rate(finished)}


def bare_async(url, kind, count, at_once):
    finished = []
    left = iter(range(count))

    async def work():
        for _ in left:
            await asyncio.sleep(LATENCY_S)
            finished.append(time.monotonic())

    async def main():
        await asyncio.gather(*(work() for _ in range(at_once)))

    asyncio.run(main())
    return {"rate": steady_rate(finished)}


def openai_threads(url, kind, count, at_once):
    import openai

    client = openai.OpenAI(base_url=url, api_key="sim-good", max_retries=0)

    def ask(prompt):
        reply = client.chat.completions.create(
            model="gpt-3.5-turbo",
            messages=[{"role": "user", "content": prompt}],
            temperature=0.7,
        )
        return reply.choices[0].message.content.strip()

    ask("warm up")
    before_s, since = cpu_s(), time.monotonic()
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(ask, prompts(count)))
    wall_s = time.monotonic() - since
    return {"wall_rate": count / wall_s, "cpu_ms": (cpu_s() - before_s) / count * 1000}


PARTS = {f.__name__: f for f in (toolkit, bare_threads, bare_async, bare_files, openai_threads)}


def measure(part, url, kind, count, at_once):
    """Run one part in a fresh process and return its figures."""
    command = [sys.executable, __file__, "--part", part, url, kind, str(count), str(at_once)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def pairs(rounds, ours, theirs):
    """Measure two parts in turn; return the figures of each."""
    return zip(*[(measure(*ours), measure(*theirs)) for _ in range(rounds)], strict=True)


def median(figures, name):
    return statistics.median(f[name] for f in figures)


def throughput(rounds, seconds):
    print(f"\nThroughput, one call of {LATENCY_S} s a file, beside a bare loop of sleep:")
    with simulator(LATENCY_S) as url:
        for kind, at_once, bare in (("blocking", 20, "bare_threads"), ("async", 200, "bare_async")):
            count = int(at_once * seconds / LATENCY_S)
            ours, theirs = pairs(
                rounds, ("toolkit", url, kind, count, at_once), (bare, url, kind, count, at_once)
            )
            ratio = statistics.median(
                o["rate"] / t["rate"] for o, t in zip(ours, theirs, strict=True)
            )
            print(
                f"  {at_once:4} {kind:8}  {median(ours, 'rate'):7.1f} files/s, bare "
                f"{median(theirs, 'rate'):7.1f}: {ratio:.1%} of it"
            )


def cpu(rounds, count):
    print(f"\nCPU, {count:,} one-call files, a server without latency:")
    with simulator(0) as url:
        ours, theirs = pairs(
            rounds,
            ("toolkit", url, "blocking", count, 20),
            ("openai_threads", url, "", count, 20),
        )
        files = [measure("bare_files", url, "", count, 20)]
    rows = (
        ("toolkit, journal on", ours),
        ("openai client in a pool", theirs),
        ("the files alone, no call", files),
    )
    for name, figures in rows:
        print(
            f"  {name:24} {median(figures, 'wall_rate'):7.0f} calls/s, "
            f"{median(figures, 'cpu_ms'):.3f} ms CPU a call"
        )
    ratio = statistics.median(t["cpu_ms"] / o["cpu_ms"] for o, t in zip(ours, theirs, strict=True))
    print(f"  the openai client takes {ratio:.1f} times the CPU")


def memory(small, large):
    print("\nMemory, one-call files:")
    with simulator(0) as url:
        figures = [measure("toolkit", url, "blocking", n, 20)["rss_mb"] for n in (small, large)]
    print(
        f"  {small:,} files {figures[0]:.0f} MB, {large:,} files {figures[1]:.0f} MB: "
        f"{figures[1] - figures[0]:+.0f} MB"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that it runs")
    parser.add_argument("--part", nargs=5, help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=["throughput", "cpu", "memory"])
    options = parser.parse_args()
    if options.part:
        part, url, kind, count, at_once = options.part
        print(json.dumps(PARTS[part](url, kind, int(count), int(at_once))))
        return
    quick = options.quick
    # Kept to the end: a file system that has just deleted thousands of files is a slower one.
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BENCHMARK_FOLDER"] = folder
        if options.only in (None, "throughput"):
            throughput(1 if quick else 5, 2 if quick else 6)
        if options.only in (None, "cpu"):
            cpu(1 if quick else 5, 500 if quick else 10_000)
        if options.only in (None, "memory"):
            memory(100, 1_000) if quick else memory(1_000, 100_000)


if __name__ == "__main__":
    main()
