"""Compare our ways of asking with others', in turns, at a fast server; write RESULTS.md.

    python benchmarks/run.py                 everything, 20 minutes; writes RESULTS.md
    python benchmarks/run.py --quick         each of ours once and small, to see that it runs
    python benchmarks/run.py --only files1,list [--against TREE] [--rounds N] [--scale X]

Each row is asked in a fresh process, all rows of a section in turns, some rounds; told are medians.
`--only` takes sections or rows. With `--against`, this checkout (or the one in PYTHONPATH) takes
turns with another one. Others' packages are installed into environments of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import environments  # noqa: E402
import ours  # noqa: E402
import server  # noqa: E402
from results import Table, bars, markdown, text  # noqa: E402
from sections import CPU, ENVIRONMENTS, PACE, SECTIONS  # noqa: E402

TREE = os.environ.get("PYTHONPATH") or str(HERE.parent)

WORDS = """\
# Results

Made by `python benchmarks/run.py`; look there for how. Each row was asked in a fresh process,
{rounds} rounds in turns with all others of its table. Figures are medians; ratios and shares are
those within a round, to the first row of the table. CPU is user and system time of the client's
process alone, after a warm-up; switches are those of threads that wait. The server,
`benchmarks/server.py`, has a process of its own and takes {server_us:.0f} us of CPU a call; the row
*bytes alone* tells the most that it answers. Compare only figures of one table.

{machine}; others: {others}

![CPU of a call](cpu.svg)
"""


def measured(tree, way, job):
    """Ask in a fresh process; its figures, or why there are none."""
    own = ENVIRONMENTS.get(way)
    python, told = environments.made(own) if own else (sys.executable, "")
    if python is None:
        return f"cannot be installed: {told}"
    command = [python, str(HERE / "measure.py"), way, json.dumps(job)]
    environment = {**os.environ, "PYTHONPATH": tree}
    try:
        done = subprocess.run(
            command, check=False, env=environment, capture_output=True, text=True, timeout=600
        )
    except subprocess.TimeoutExpired:
        return "took longer than 600 s"
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr.strip()[-2000:]


def sized(job, scale):
    """A job with so many times the calls, whole files of them."""
    per_file = job.get("per_file", 1)
    calls = max(20, 2 * per_file, int(job["calls"] * scale))
    return {**job, "calls": calls // per_file * per_file}


def asked(section, options, folder):
    """Figures by row and checkout, an entry a round."""
    turns = [(row, tree) for row in section.rows for tree in trees_of(row, options.against)]
    found = {turn: [] for turn in turns}
    with server.serving(*section.server) as url, ThreadPoolExecutor(options.side_by_side) as pool:

        def ask(turn):
            row, tree = turn
            job = {**sized(row.job, options.scale), "url": url, "folder": folder}
            return measured(tree, row.way, job)

        for n in range(min(options.rounds, section.most_rounds)):
            order = turns if n % 2 == 0 else turns[::-1]
            for turn, figures in zip(order, pool.map(ask, order), strict=True):
                found[turn].append(figures)
    return Table(section, found, is_judged=not (options.quick or options.against))


def trees_of(row, against):
    return [TREE, against] if against and hasattr(ours, row.way) else [TREE]


def chosen(options):
    """The sections with the rows that are to be asked, and the first for comparison."""
    only, seen = set(filter(None, options.only.split(","))), set()
    homes = {row.key: row for section in reversed(SECTIONS) for row in section.rows}
    named = {homes[key] for key in only & homes.keys()}
    for section in SECTIONS:
        rows = [r for r in section.rows if options.is_with_others or r.way not in ENVIRONMENTS]
        if options.quick:
            wanted = [row for row in rows if row.way not in seen]
        elif only and section.key not in only:
            wanted = [row for row in rows if row in named]
        else:
            wanted = rows
        seen.update(row.way for row in wanted)
        if wanted:
            yield replace(section, rows=tuple(dict.fromkeys([rows[0], *wanted])))


def write(tables, rounds):
    pace = next(table for table in tables if table.section.key == PACE.key)
    versions = [(name.split()[0], environments.made(name)) for name in ENVIRONMENTS.values()]
    told = WORDS.format(
        rounds=rounds,
        server_us=pace.of("bare", "server_us"),
        machine=environments.machine(),
        others=", ".join(f"{name} {version}" for name, (python, version) in versions if python),
    )
    lines = [told]
    for table in tables:
        lines += [f"## {table.section.title}", "", *markdown(table.cells()), ""]
        lines += [f"- {line}" for line in table.failures()]
    (HERE / "RESULTS.md").write_text("\n".join(lines).rstrip() + "\n")
    (HERE / "cpu.svg").write_text("\n".join(bars(pace, CPU)) + "\n")


def parsed():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one small round, nobody's packages")
    parser.add_argument("--against", help="another checkout")
    parser.add_argument("--only", help="sections or rows, with commas between", default="")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, help="so many times the calls")
    options = parser.parse_args()
    options.is_whole = not (options.quick or options.against or options.only)
    if options.quick:
        options.rounds, options.scale = 1, 0.002
    options.scale = options.scale or (1.0 if options.is_whole else 0.2)
    options.side_by_side = 2 if options.quick else 1
    options.is_with_others = not (options.quick or options.against)
    return options


def main():
    options = parsed()
    tables = []
    # Kept to the end: a file system that has just deleted thousands of files is a slower one.
    with tempfile.TemporaryDirectory() as folder:
        for section in chosen(options):
            tables.append(asked(section, options, folder))
            print(f"\n{section.title}", *text(tables[-1].cells()), sep="\n", flush=True)
            for failure in tables[-1].failures():
                print(failure, flush=True)
            if options.is_whole:  # after each, for a run that is stopped on the way
                write(tables, options.rounds)
    return any(True for table in tables for _ in table.failures())


if __name__ == "__main__":
    sys.exit(main())
