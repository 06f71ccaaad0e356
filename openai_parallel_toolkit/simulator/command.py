"""The simulator on the command line: its options, and what they make of it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

from .faults import KINDS, Fault
from .keys import SimKey
from .latency import Latency
from .server import Simulator, serve

Rule = TypeVar("Rule", SimKey, Fault)
HELP = f"""\
keys:    a name and its settings, for example
           --keys good,empty:quota=none,slow:rpm=60:tpm=10000,bad:valid=no
         A client sends "sim-" and the name. Settings: value, group, rpm, tpm, burst, quota,
         quota_tokens, enqueued_tokens (of batches of one model), valid, deactivated, unpaid,
         models and deployments (joined by +).
faults:  a kind and its settings; the first that a request meets is played:
           --fault 429:chance=0.05:retry_after=2 --fault cut_body:at=3,7-9
         Conditions: method (POST), path (its end; of a line of a batch "#line"), at, key,
         marker, chance, times, per_payload. Settings: status, message, retry_after, billed,
         seconds, keep.
kinds:   {", ".join(sorted(KINDS))}
paths:   GET /__ledger (?summary=1), GET and POST /__script (?append=1; a list of objects with the
         settings of faults), POST /__reset, GET /__batches (counts of files, batches and
         enqueued tokens) and POST /__batches, with any of: seconds, window_s, listed_after_s
         (missing in the list for so long), is_held (no line is answered), next (list of courses,
         for the next batches), always (course of all others). A course has: end (completed,
         failed, expired, cancelled), share (of lines answered before an early end), lost_share
         (of answered lines that are in no file), strangers (lines that nobody asked for),
         repeats (answered lines that come again, with another answer), code
         and message (of the failure), seconds:
           {{"next": [{{"end": "expired", "share": 0.3}}], "seconds": 5}}
"""


def main() -> None:
    """Run the simulator until Ctrl-C or SIGTERM; the first line printed is its base URL."""
    parser = argparse.ArgumentParser(
        prog="python -m openai_parallel_toolkit.simulator",
        description="An OpenAI look-alike on loopback that misbehaves on demand and keeps a bill.",
    )
    configure(parser)
    try:
        simulator = simulator_from(parser.parse_args())
    except (OSError, OverflowError, ValueError) as exc:
        parser.error(str(exc))
    serve(simulator, lambda url: print(url, flush=True))  # noqa: T201


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the simulator's options to a parser."""
    parser.epilog = HELP
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--port", type=int, default=0, help="0, the default, takes a free one")
    add("--keys", type=_told(keys_from), default="test", help="see below")
    add(
        "--latency",
        type=_told(latency_from),
        default="0",
        metavar="S[:SIGMA]",
        help="seconds before a reply; with SIGMA the median of a lognormal spread",
    )
    add("--seed", type=int, default=0, help="of answers, latency and faults")
    add(
        "--extra-parameters",
        type=_names,
        default=(),
        metavar="NAME,...",
        help="taken besides OpenAI's, as other servers do; * for any",
    )
    add("--context", type=int, default=128_000, metavar="TOKENS")
    add(
        "--batch-seconds",
        type=float,
        default=0.4,
        metavar="S",
        help="from a batch's creation to its end, if its lines take no longer",
    )
    add(
        "--batch-window",
        type=float,
        default=86_400.0,
        metavar="S",
        help="seconds after which a batch that is not over expires",
    )
    add("--ledger", metavar="FILE", help="append each request as a line of JSON")
    add("--fault", type=_told(fault_from), action="append", default=[], help="see below")


def simulator_from(arguments: argparse.Namespace) -> Simulator:
    """Return the simulator that the options ask for, not yet started.

    It may raise what Simulator does, and OverflowError when there is no such port.
    """
    return Simulator(
        arguments.keys,
        seed=arguments.seed,
        latency=arguments.latency,
        faults=arguments.fault,
        context_tokens=arguments.context,
        extra_parameters=arguments.extra_parameters,
        batch_seconds=arguments.batch_seconds,
        batch_window_s=arguments.batch_window,
        ledger_path=arguments.ledger,
        port=arguments.port,
    )


def keys_from(text: str) -> list[SimKey]:
    """Return the keys of "good,empty:quota=none,slow:rpm=60", or raise ValueError."""
    return [_rule_from(SimKey, part.strip()) for part in text.split(",")]


def fault_from(text: str) -> Fault:
    """Return the rule of "429:chance=0.05:retry_after=2", or raise ValueError."""
    return _rule_from(Fault, text)


def latency_from(text: str) -> Latency:
    """Return the latency of "0.2" or "0.2:0.5" (median and sigma), or raise ValueError."""
    median_s, _, sigma = text.partition(":")
    return Latency(float(median_s), float(sigma or 0))


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _told(read: Callable[[str], object]) -> Callable[[str], object]:
    """Return a reader whose ValueError argparse shows as it is."""

    def reader(text: str) -> object:
        try:
            return read(text)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(str(exc)) from exc

    return reader


def _rule_from(kind: type[Rule], text: str) -> Rule:
    """Return what "name:setting=value:setting=value" describes, by the types of its fields."""
    name, *settings = text.split(":")
    types = {field.name: str(field.type).removesuffix(" | None") for field in fields(kind)[1:]}
    values = {}
    for part in settings:
        setting, equals, value = part.partition("=")
        if not equals or setting not in types:
            raise ValueError(f"{part!r} is not one of the settings {', '.join(sorted(types))}")
        values[setting] = _READERS[types[setting]](value)
    return kind(name, **values)


def _flag(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError(f"{text!r} is neither yes nor no")
    return text == "yes"


def _ordinals(text: str) -> frozenset[int]:
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)


#: By the type of a field, None left out.
_READERS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": _flag,
    "int | str": lambda text: text if text == "none" else int(text),
    "float | str": str,
    "Sequence[str]": lambda text: tuple(text.split("+")),
    "Collection[int]": _ordinals,
}
