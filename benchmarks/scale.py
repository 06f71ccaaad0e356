"""Measure what a million files cost that need no work, and a journal of millions of calls.

    python benchmarks/scale.py [--files N] [--calls N] [--folder DIR] [--quick]

Makes a folder of N inputs, all done, with a journal that says so, and tells for each command its
CPU, time and peak memory beside those of `find IN OUT | wc -l`: medians of interleaved rounds. Then
the same for commands on a journal of many calls, beside bare Python. `--folder` keeps what was made
for the next time. Linux.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

from openai_parallel_toolkit import ParallelToolkit
from openai_parallel_toolkit.journal.schema import FILE_NAME, connect, prepare

STATE = ".openai_parallel_toolkit"
PER_FOLDER = 1_000
TOOL = [sys.executable, "-m", "openai_parallel_toolkit"]


class NoCalls(ParallelToolkit):
    """Asks nothing, and writes one small output."""

    def process_input(self, file):
        return file.read()

    def process_data(self, data):
        return data

    def process_output(self, data, output_file_without_ext):
        with open(output_file_without_ext + ".md", "w") as out:
            out.write(data)


# -- what is measured is made ------------------------------------------------------------------


def place_of(n):
    return f"{n // PER_FOLDER:04}", f"{n % PER_FOLDER:06}"


def make(root, files, done):
    """Make `files` inputs, of which the first `done` have an output and rows in the journal."""
    root.mkdir(parents=True)
    state = root / "out" / STATE
    state.mkdir(parents=True, mode=0o700)
    (root / "config.json").write_text(json.dumps({"api_keys": ["k"], "api_base": "http://[::1]:9"}))
    os.chmod(root / "config.json", 0o600)
    with contextlib.closing(new_journal(state)) as db:
        db.execute("BEGIN")
        fill(db, make_files(root, files, done))
        fill_calls(db, done, 1)
        db.execute("COMMIT")


def make_calls(root, calls, each=20):
    """Make a journal of so many calls, without the files."""
    state = root / "out" / STATE
    state.mkdir(parents=True, mode=0o700)
    now_s = time.time() - 3600
    rows = (
        (n + 1, *place_of(n), 50, "0" * 64, "50-1700000000000000000", now_s)
        for n in range(calls // each)
    )
    with contextlib.closing(new_journal(state)) as db:
        db.execute("BEGIN")
        fill(db, rows)
        fill_calls(db, calls // each, each)
        db.execute("COMMIT")


def make_files(root, files, done):
    """Write the files, and yield what the journal is to know of those that are done."""
    now_s = time.time() - 3600
    for n in range(files):
        folder, name = place_of(n)
        if n % PER_FOLDER == 0:
            for side in ("in", "out"):
                os.makedirs(root / side / folder, exist_ok=True)
        text = f"Tell me about number {n}, in one short sentence.".encode()
        path = f"{root}/in/{folder}/{name}.txt"
        write(path, text)
        if n < done:
            write(f"{root}/out/{folder}/{name}.md", text)
            seen, digest = os.stat(path), hashlib.sha256(text).hexdigest()
            signature = f"{seen.st_size}-{seen.st_mtime_ns}:{digest[:16]}"
            yield n + 1, folder, name, len(text), digest, signature, now_s


def write(path, content):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(fd, content)
    os.close(fd)


def new_journal(state):
    path = str(state / FILE_NAME)
    os.close(os.open(path, os.O_CREAT, 0o600))
    db = connect(path)
    prepare(db, path, created_wall_s=time.time() - 7200)
    db.execute("PRAGMA synchronous = OFF")
    db.execute(
        "INSERT INTO runs VALUES (1, ?, 1, 'here', 'v', ?, 'done', '{}', '{}')",
        (time.time() - 7200, time.time() - 3600),
    )
    return db


def fill(db, done):
    while page := list(islice(done, 10_000)):
        db.executemany(
            "INSERT INTO files VALUES (?, ?, ?, 'done', 0, NULL, 0, 'v', ?, NULL, NULL, NULL, ?)",
            [
                (n, folder.encode(), f"{name}.txt".encode(), signature, wall_s)
                for n, folder, name, _, _, signature, wall_s in page
            ],
        )
        db.executemany(
            "INSERT INTO outputs VALUES (?, ?, ?, ?, ?, 1, 0)",
            [
                (n, f"0/{n}".encode(), f"{folder}/{name}.md".encode(), size, digest)
                for n, folder, name, size, digest, *_ in page
            ],
        )


def fill_calls(db, files, calls_each):
    """Note calls of these files, all answered."""
    count = files * calls_each
    numbers = (
        f"WITH RECURSIVE n(i) AS (SELECT 1 WHERE {count} UNION ALL "
        f"SELECT i + 1 FROM n WHERE i < {count})"
    )
    file_id, wall_s = f"(i - 1) / {calls_each} + 1", time.time() - 5000
    body = json.dumps({"choices": [{"message": {"content": "A short answer."}}]})
    facts = f"0, 0, 'key-1', 'gpt-4o-mini', '0.0021', {wall_s}, 0, ''"
    db.execute(
        f"INSERT INTO attempts {numbers} SELECT i, 1, {file_id}, randomblob(32), {facts} FROM n"
    )
    facts = f"'ok', 200, '', '', 20, 10, 0, '0.00001', 'req', {wall_s}, 1.0, 'stop'"
    db.execute(f"INSERT INTO endings {numbers} SELECT i, {facts} FROM n")
    answers = "SELECT id, file_id, hash, k, try, 0, 0, ?, '' FROM attempts"
    db.execute(f"INSERT INTO answers {answers}", (body.encode(),))
    db.execute(
        "INSERT INTO tallies VALUES (1, 'key-1', 'gpt-4o-mini', ?1, ?1, 0, 0, ?1 * 20, ?1 * 10, 0, "
        "'12.5', '0', 0)",
        (count,),
    )


# -- how it is measured ------------------------------------------------------------------------


def measured(command):
    """Run a command to its end; return wall seconds, CPU seconds and peak memory in MB."""
    since_s = time.monotonic()
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        shell=isinstance(command, str),
    )
    trouble = process.stderr.read().decode()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, trouble
    return time.monotonic() - since_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def run_command(root, *options):
    paths = [str(root / "in"), str(root / "out"), "--config", str(root / "config.json")]
    return [*TOOL, "run", f"{__file__}:NoCalls", *paths, "--no-progress", *options]


def table(commands, rounds):
    """Print medians of each command, and how many times the first one's time and CPU they are."""
    rows = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            rows[name].append(measured(command))
    first = None
    for name, found in rows.items():
        wall_s, cpu_s, mb = (statistics.median(column) for column in zip(*found, strict=True))
        first = first or (wall_s, cpu_s)
        print(
            f"{name:<28} {wall_s:8.2f} s {cpu_s:8.2f} s CPU {mb:6.0f} MB   "
            f"x {wall_s / first[0]:.2f}  CPU x {cpu_s / first[1]:.2f}",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--calls", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--quick", action="store_true", help="2,000 files, 20,000 calls, a round")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.files, arguments.calls, arguments.rounds = 2_000, 20_000, 1
    with contextlib.ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        measure(folder, arguments)


def measure(folder, arguments):
    files, calls, rounds = arguments.files, arguments.calls, arguments.rounds
    done, many = folder / f"done-{files}", folder / f"calls-{calls}"
    if not done.exists():
        make(done, files, files)
    if not many.exists():
        make_calls(many, calls)
    out = str(done / "out")
    print(f"{files:,} files that are done:")
    commands = {
        "find IN OUT | wc -l": f"find {done}/in {out} | wc -l",
        "run: nothing to do": run_command(done),
        "run --dry-run": run_command(done, "--dry-run"),
        "show": [*TOOL, "show", out, "0000/000001.txt"],
        "failures": [*TOOL, "failures", out],
        "status": [*TOOL, "status", out],
    }
    table(commands, rounds)
    print(f"A journal of {calls:,} calls:")
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import": [sys.executable, "-c", "import openai_parallel_toolkit"],
        "--help": [*TOOL, "--help"],
        "status": [*TOOL, "status", str(many / "out")],
    }
    table(commands, rounds)


if __name__ == "__main__":
    main()
