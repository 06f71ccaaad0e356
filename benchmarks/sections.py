"""What is compared with what: sections of rows, each a way of asking with its job and its targets.

A section's first row is the one that the others are compared with, in each round.
"""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field, replace

#: Ways of asking that are other packages', each with an environment of its own.
PEERS = {"lm_deluge": "lm-deluge", "flexllm": "flexllm", "batchllm": "batchllm-ai"}
ENVIRONMENTS = {**PEERS, "pyreqwest": "pyreqwest uvloop", "httpx2": "httpx2 uvloop"}


@dataclass(frozen=True)
class Column:
    """A figure, or what it is beside the first row's."""

    title: str
    figure: str
    shape: str
    beside: Callable[[float, float], float] | None = None
    more_is_better: bool = False

    def value(self, figures, firsts):
        """The median of the rounds; None: there is no such figure."""
        if any(self.figure not in found for found in figures):
            return None
        mine = [found[self.figure] for found in figures]
        if self.beside:
            theirs = [found[self.figure] for found in firsts]
            mine = map(self.beside, mine, theirs)
        return statistics.median(mine)

    def is_reached(self, value, bound):
        return value >= bound if self.more_is_better else value <= bound

    def wanted(self, bound):
        return f"{self.title} {'at least' if self.more_is_better else 'at most'} {bound:g}"


RATE = Column("calls/s", "rate", ",.0f")
STEADY = Column("calls/s, steady", "steady_rate", ",.0f")
CPU = Column("CPU ms/call", "cpu_ms", ".3f")
SWITCHES = Column("switches/call", "switches", ".1f")
PEAK = Column("peak MB", "rss_mb", ".0f")
CPU_OF_FIRST = Column("CPU ratio", "cpu_ms", ".2f", operator.truediv)
RATE_OF_FIRST = Column("pace ratio", "rate", ".2f", operator.truediv, more_is_better=True)
STEADY_OF_FIRST = Column("share", "steady_rate", ".1%", operator.truediv, more_is_better=True)
GAP = Column("ms from answer to answer", "gap_ms", ".2f")
ADDED = Column("ms added", "gap_ms", ".2f", operator.sub)
ALLOWED = Column("share of what is allowed", "allowed_share", ".1%", more_is_better=True)
LIMITED = Column("429s/call", "limited_share", ".3f")
REFUSED = Column("401s", "refused", ",.0f")
ANSWERED = Column("answered", "answered_share", ".1%", more_is_better=True)
ANSWERED_RATE = Column("answers/s", "answered_rate", ",.0f")
SECONDS = Column("s", "wall_s", ".2f")
SPEED_UP = Column("times one by one", "speed_up", ",.0f")
LATE = Column("heartbeat late by ms", "late_ms", ".1f")
GROWN = Column("MB more", "rss_mb", "+.0f", operator.sub)


@dataclass(frozen=True, eq=False)
class Row:
    """One way of asking; `key` names it on the command line."""

    key: str
    name: str
    way: str
    job: dict = field(default_factory=dict)
    #: By column, the least or the most that is to be reached.
    targets: dict = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Section:
    key: str
    title: str
    rows: tuple
    columns: tuple
    #: Options of the server.
    server: tuple = ()
    most_rounds: int = 99


def peers(**job):
    return tuple(Row(package, package, way, job) for way, package in PEERS.items())


def openai(**job):
    return Row("openai", "openai package, threads", "openai_threads", job)


def openai_async(**job):
    return Row("openai-async", "openai package, async", "openai_async", job)


PACE = Section(
    "pace",
    "As fast as it goes: a server that answers at once",
    (
        openai(calls=2000),
        openai_async(calls=2000),
        *peers(calls=2000),
        Row(
            "files1",
            "files, one call each, threads",
            "files",
            {"calls": 4000},
            {CPU_OF_FIRST: 0.55, RATE_OF_FIRST: 1.6},
        ),
        Row(
            "files20",
            "files, 20 calls each, threads",
            "files",
            {"calls": 6000, "per_file": 20},
            {CPU_OF_FIRST: 0.28, RATE_OF_FIRST: 3},
        ),
        Row(
            "list",
            "multi_process_one",
            "listed",
            {"calls": 10_000, "at_once": 100},
            {CPU_OF_FIRST: 0.10, RATE_OF_FIRST: 10},
        ),
        Row(
            "list-journal",
            "multi_process_one, journal",
            "listed_journal",
            {"calls": 8000, "at_once": 100},
            {CPU_OF_FIRST: 0.14, RATE_OF_FIRST: 7},
        ),
        Row("prompts", "prompts, journal", "prompts", {"calls": 8000}, {CPU_OF_FIRST: 0.25}),
        Row("arequests", "arequest_openai_api", "arequests", {"calls": 4000}),
        Row("door", "openai package through us, async", "openai_door", {"calls": 2000}),
        Row("bare-files", "files alone, no call", "bare_files", {"calls": 2000}),
        Row("bare", "bytes alone: the server's ceiling", "bare_bytes", {"calls": 20_000}),
    ),
    (RATE, CPU, SWITCHES, PEAK, CPU_OF_FIRST, RATE_OF_FIRST),
)

HOOKS = {"calls": 6000, "at_once": 200, "latency_s": 0.2}
ASYNC = Section(
    "async",
    "200 at a time, replies that take 0.2 s",
    (
        Row("sleep-async", "asyncio.sleep alone", "sleep_async", HOOKS),
        Row("files-async", "files, async hooks", "files_async", HOOKS, {STEADY_OF_FIRST: 0.9}),
        openai_async(**HOOKS),
        *peers(**HOOKS),
    ),
    (STEADY, STEADY_OF_FIRST, RATE, CPU, PEAK),
    ("--latency", 0.2),
)

HOOKS_20 = {"calls": 600, "at_once": 20, "latency_s": 0.2}
THREADS = Section(
    "threads",
    "20 threads, replies that take 0.2 s",
    (
        Row("sleep-threads", "time.sleep alone", "sleep_threads", HOOKS_20),
        Row("files-threads", "files, threads", "files", HOOKS_20, {STEADY_OF_FIRST: 0.95}),
        openai(**HOOKS_20),
    ),
    (STEADY, STEADY_OF_FIRST, RATE, CPU, PEAK),
    ("--latency", 0.2),
)

ALONE = {"calls": 120, "at_once": 1}
LOW_LOAD = Section(
    "low-load",
    "One call at a time, replies that take 20 ms",
    (
        Row("bare-one", "http.client", "bare_one_by_one", ALONE),
        Row("one", "request_openai_api in a hook", "one_by_one", ALONE, {ADDED: 2}),
        openai(**ALONE),
    ),
    (GAP, ADDED, CPU),
    ("--latency", 0.02),
)

LIMITED_CALLS = {"calls": 1000, "allowed": [200, 20]}
LIMITS = Section(
    "limits",
    "A limit: 12,000 calls a minute, 20 at once, else 429 and Retry-After; replies take 20 ms",
    (
        openai(**LIMITED_CALLS),
        openai_async(**LIMITED_CALLS),
        *peers(**LIMITED_CALLS),
        Row("limited-list", "multi_process_one", "listed", LIMITED_CALLS),
        Row("limited-files", "files, one call each, threads", "files", LIMITED_CALLS),
    ),
    (ALLOWED, ANSWERED, LIMITED, SECONDS, CPU),
    ("--latency", 0.02, "--per-minute", 12_000, "--burst", 20),
)

DEAD_KEY = {"calls": 900, "at_once": 21, "keys": ["good", "dead", "well"]}
DEAD = Section(
    "dead-key",
    "Three keys, one of them dead; replies take 20 ms",
    (
        openai(**DEAD_KEY),
        *(row for row in peers(**DEAD_KEY) if row.way != "batchllm"),
        Row("dead-list", "multi_process_one", "listed", DEAD_KEY),
        Row("dead-files", "files, one call each, threads", "files", DEAD_KEY),
    ),
    (ANSWERED, REFUSED, ANSWERED_RATE, CPU),
    ("--latency", 0.02),
)

SLOW = {"latency_s": 0.186}
SCRIPTS = Section(
    "scripts",
    "Doors for scripts, replies that take 0.186 s",
    (
        Row(
            "requester-100",
            "APIRequester, 100 prompts within its allowance",
            "requester",
            {"calls": 100, "rate_limit": 100, **SLOW},
        ),
        Row(
            "requester-600",
            "APIRequester, 600 prompts",
            "requester",
            {"calls": 600, "rate_limit": 60_000, **SLOW},
        ),
        Row("queue", "ApiQueue, 500 requests", "queue", {"calls": 500, **SLOW}),
    ),
    (SECONDS, SPEED_UP, LATE),
    ("--latency", 0.186),
)

HELD_JOB = {"calls": 1000, "at_once": 1000, "latency_s": 5.0}
HELD = Section(
    "held",
    "1,000 calls in flight",
    (
        openai_async(**HELD_JOB),
        openai(**HELD_JOB),
        Row("held-files", "files, 1,000 threads", "files", HELD_JOB, {PEAK: 250}),
        Row("held-files-async", "files, async hooks", "files_async", HELD_JOB),
        Row("held-transport", "this package's transport", "transport", HELD_JOB),
    ),
    (PEAK, CPU),
    ("--latency", 5.0),
    most_rounds=1,
)

CLIENT_CALLS = {"calls": 4000, "at_once": 100}
CLIENTS = Section(
    "clients",
    "HTTP clients alone, 100 calls in flight",
    (
        Row("aiohttp", "aiohttp on uvloop", "aiohttp_on_uvloop", CLIENT_CALLS),
        Row("aiohttp-asyncio", "aiohttp on asyncio", "aiohttp_on_asyncio", CLIENT_CALLS),
        Row("httpx2", "httpx2 on uvloop", "httpx2", CLIENT_CALLS),
        Row("pyreqwest", "pyreqwest on uvloop", "pyreqwest", CLIENT_CALLS),
        Row("transport", "this package's transport", "transport", CLIENT_CALLS),
    ),
    (RATE, CPU, PEAK, CPU_OF_FIRST, RATE_OF_FIRST),
)
TLS_CLIENTS = replace(CLIENTS, key="tls", title=f"{CLIENTS.title}, over TLS", server=("--tls",))

MEMORY = Section(
    "memory",
    "Memory: files, one call each, threads",
    (
        Row("few", "1,000 files", "files", {"calls": 1000}),
        Row("many", "100,000 files", "files", {"calls": 100_000}),
    ),
    (PEAK, GROWN, RATE, CPU),
    most_rounds=1,
)

SECTIONS = (
    PACE,
    ASYNC,
    THREADS,
    LOW_LOAD,
    LIMITS,
    DEAD,
    SCRIPTS,
    CLIENTS,
    TLS_CLIENTS,
    HELD,
    MEMORY,
)
