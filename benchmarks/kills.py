"""Kill `prompts` on the way through a long file, one line of which is stuck for the whole run.

    python benchmarks/kills.py [--lines N]

The first line gets no answer while all others are asked, so that all of them wait for their turn.
The command is killed with SIGKILL on the way and once more when only the stuck line is open; a last
run finishes. Printed are time, peak memory of each run and the bill. Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

from measure import peak_mb

from openai_parallel_toolkit.journal import JournalReader

LONGEST_S = 1800.0
STUCK = [{"kind": "never", "marker": "number 0,", "billed": False}]


@contextmanager
def simulator():
    command = [sys.executable, "-m", "openai_parallel_toolkit.simulator", "--keys", "good"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def control(url, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url.removesuffix("/v1") + path, data)) as reply:
        return json.loads(reply.read())


def write_inputs(root, url, count):
    (root / "config.json").write_text(json.dumps({"api_keys": ["sim-good"], "api_base": url}))
    os.chmod(root / "config.json", 0o600)
    with open(root / "in.jsonl", "w") as file:
        for n in range(count):
            prompt = f"Tell me about number {n}, in one short sentence."
            file.write(json.dumps({"id": n, "prompt": prompt}) + "\n")


def start(root):
    command = [sys.executable, "-m", "openai_parallel_toolkit", "prompts", "in.jsonl", "out.jsonl"]
    command += ["--config", "config.json", "--model", "gpt-4o-mini", "--no-progress"]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)


def killed_at(root, url, answers):
    """Run until the server has made so many answers, then kill; return peak memory and seconds."""
    since_s = time.monotonic()
    process = start(root)
    while control(url, "/__ledger?summary=1")["total"]["billed"] < answers:
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() - since_s < LONGEST_S
        time.sleep(0.5)
    time.sleep(1.0)  # the last answers reach the journal
    found = peak_mb(process.pid), time.monotonic() - since_s
    process.kill()
    process.communicate()
    return found


def finished(root):
    """Run to the end; return peak memory, seconds and what was printed."""
    since_s, peak = time.monotonic(), 0.0
    process = start(root)
    while process.poll() is None:
        peak = max(peak, peak_mb(process.pid))
        time.sleep(0.05)
    assert process.returncode == 0
    return peak, time.monotonic() - since_s, process.communicate()[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=100_000)
    count = parser.parse_args().lines
    with tempfile.TemporaryDirectory() as folder, simulator() as url:
        root = Path(folder)
        write_inputs(root, url, count)
        control(url, "/__script", STUCK)
        for share in (0.4, 1.0):
            answers = int((count - 1) * share)
            mb, took_s = killed_at(root, url, answers)
            print(f"killed after {took_s:.0f} s at {answers:,} answers: peak {mb:.0f} MB")
        written = (root / "out.jsonl.partial").stat().st_size
        print(f"written while line 1 was stuck: {written} bytes")
        control(url, "/__script", [])
        mb, took_s, told = finished(root)
        print(f"last run {took_s:.0f} s: peak {mb:.0f} MB\n{told.strip()}")
        bill = control(url, "/__ledger?summary=1")
        written = (root / "out.jsonl").read_text().splitlines()
        ids = [json.loads(line)["id"] for line in written]
        assert ids == list(range(count)), "the order is another one"
        with JournalReader(str(root / "out.jsonl.state")) as reader:
            in_flight = reader.status().totals.all_runs.unanswered
        print(
            f"bill: {bill['total']['billed']:,} answers for {count:,} lines; {in_flight} were in "
            f"flight at the kills, and {bill['billed_again']} of these lines were billed again"
        )
        assert bill["billed_again"] <= in_flight, "an answer that was kept was paid for again"


if __name__ == "__main__":
    main()
