"""The simulator on the command line."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any

from .faults import KINDS, Fault, faults_from
from .keys import SimKey
from .latency import Latency
from .server import Simulator, serve

HELP = f"""\
keys:    a name and its settings, for example
           --keys good,empty:quota=none,slow:rpm=60:tpm=10000,bad:valid=no
         A client sends "sim-" and the name. Settings: value, group, rpm, tpm, burst, quota,
         quota_tokens, enqueued_tokens (of batches of one model), valid, deactivated, unpaid,
         models and deployments (joined by +).
faults:  a kind and its conditions, or JSON; the first that a request meets is played:
           --fault 429:chance=0.05:retry_after=2 --fault cut_body:at=3,7-9
           --fault '{{"kind": "500", "key": "good", "times": 2}}'
         Conditions: method (POST), path (its end; of a line of a batch "#line"), at, key,
         marker, chance, times, per_payload. Settings: status, message, retry_after, billed,
         seconds, keep.
kinds:   {", ".join(sorted(KINDS))}
paths:   GET /__ledger (?summary=1), GET and POST /__script (?append=1), POST /__reset,
         GET /__batches (counts of files, batches and enqueued tokens) and POST /__batches, with
         any of: seconds, window_s, listed_after_s (missing in the list for so long), is_held (no
         line is answered), next (list of courses, for the next batches), always (course of all
         others). A course has: end (completed, failed,
         expired, cancelled), share (of lines answered before an early end), lost_share (of
         answered lines that are in no file), strangers (lines that nobody asked for), code and
         message (of the failure), seconds:
           {{"next": [{{"end": "expired", "share": 0.3}}], "seconds": 5}}
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the simulator until Ctrl-C or SIGTERM; the first line printed is its base URL."""
    parser = argparse.ArgumentParser(
        prog="python -m openai_parallel_toolkit.simulator",
        description="An OpenAI look-alike on loopback that misbehaves on demand and keeps a bill.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    arguments = parser.parse_args(argv)
    try:
        simulator = simulator_from(arguments)
    except (OSError, ValueError) as exc:
        parser.error(str(exc))
    serve(simulator, lambda url: print(url, flush=True))  # noqa: T201


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the simulator's options to a parser."""
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--keys", type=_typed(keys_from), default="test", help="see below")
    parser.add_argument(
        "--latency",
        type=_typed(latency_from),
        default="0",
        metavar="S[:SIGMA]",
        help="seconds before a reply; with SIGMA the median of a lognormal spread",
    )
    parser.add_argument("--seed", type=int, default=0, help="of answers, latency and faults")
    parser.add_argument("--context", type=int, default=128_000, metavar="TOKENS")
    parser.add_argument(
        "--batch-seconds",
        type=float,
        default=0.4,
        metavar="S",
        help="from a batch's creation to its end, if its lines take no longer",
    )
    parser.add_argument(
        "--batch-window",
        type=float,
        default=86_400.0,
        metavar="S",
        help="seconds after which a batch that is not over expires",
    )
    parser.add_argument("--ledger", metavar="FILE", help="append each request as a line of JSON")
    parser.add_argument(
        "--fault", type=_typed(fault_from), action="append", default=[], help="see below"
    )


def simulator_from(arguments: argparse.Namespace) -> Simulator:
    """Return the simulator that the options ask for, not yet started.

    Raises:
        ValueError: the keys contradict each other.
        OSError: the port is taken, or the ledger cannot be opened.
        OverflowError: there is no such port.
    """
    return Simulator(
        arguments.keys,
        seed=arguments.seed,
        latency=arguments.latency,
        faults=arguments.fault,
        context_tokens=arguments.context,
        batch_seconds=arguments.batch_seconds,
        batch_window_s=arguments.batch_window,
        ledger_path=arguments.ledger,
        port=arguments.port,
    )


def keys_from(text: str) -> list[SimKey]:
    """Return the keys of "good,empty:quota=none,slow:rpm=60".

    Raises:
        ValueError: it does not describe keys.
    """
    keys = []
    for part in text.split(","):
        name, *settings = part.strip().split(":")
        values = _settings(settings, _KEY_READERS)
        keys.append(SimKey(name, **values))
    return keys


def fault_from(text: str) -> Fault:
    """Return the rule of "429:chance=0.05:retry_after=2" or of a JSON object.

    Raises:
        ValueError: it does not describe a rule.
    """
    if text.startswith("{"):
        return faults_from([json.loads(text)])[0]
    kind, *settings = text.split(":")
    return Fault(kind, **_settings(settings, _FAULT_READERS))


def latency_from(text: str) -> Latency:
    """Return the latency of "0.2" or "0.2:0.5" (median and sigma).

    Raises:
        ValueError: it is no number.
    """
    median_s, _, sigma = text.partition(":")
    return Latency(float(median_s), float(sigma or 0))


def _typed(read: Callable[[str], object]) -> Callable[[str], object]:
    """Return a reader whose ValueError argparse shows as it is."""

    def reader(text: str) -> object:
        try:
            return read(text)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(str(exc)) from exc

    return reader


def _settings(parts: Sequence[str], readers: dict[str, Callable[[str], Any]]) -> dict[str, Any]:
    values = {}
    for part in parts:
        name, equals, text = part.partition("=")
        if not equals or name not in readers:
            raise ValueError(f"{part!r} is not one of the settings {', '.join(sorted(readers))}")
        values[name] = readers[name](text)
    return values


def _flag(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError(f"{text!r} is neither yes nor no")
    return text == "yes"


def _quota(text: str) -> int | str:
    return text if text == "none" else int(text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split("+"))


def _ordinals(text: str) -> frozenset[int]:
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)


_KEY_READERS: dict[str, Callable[[str], Any]] = {
    "value": str,
    "group": str,
    "rpm": int,
    "tpm": int,
    "burst": int,
    "quota": _quota,
    "quota_tokens": int,
    "enqueued_tokens": int,
    "valid": _flag,
    "deactivated": _flag,
    "unpaid": _flag,
    "models": _names,
    "deployments": _names,
}
_FAULT_READERS: dict[str, Callable[[str], Any]] = {
    "method": str,
    "path": str,
    "at": _ordinals,
    "key": str,
    "marker": str,
    "chance": float,
    "times": int,
    "per_payload": _flag,
    "status": int,
    "message": str,
    "retry_after": str,
    "billed": _flag,
    "seconds": float,
    "keep": float,
}
