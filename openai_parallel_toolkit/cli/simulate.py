"""`simulate`: run a server that looks like OpenAI's, until Ctrl-C."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from ..core.errors import UsageError
from ..core.text import counted, visible
from ..simulator import Ledger, serve
from ..simulator.command import configure, simulator_from
from . import console
from .exits import OK

__all__ = ["bill_words", "configure", "run"]

_STATUS_WORDS = {
    0: "without a reply",
    401: "refused for the key (401)",
    429: "refused for too many requests or no quota (429)",
}


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM, then print the bill."""
    try:
        simulator = simulator_from(arguments)
    except (OSError, OverflowError, ValueError) as exc:
        raise UsageError(str(exc)) from exc
    keys = [{"name": key.name, "key": key.secret} for key in simulator.keys]

    def tell(url: str) -> None:
        config = json.dumps({"api_base": url, "api_keys": keys})
        console.say(f"{url}\nconfig.json: {config}")

    serve(simulator, tell)
    console.say(bill_words(simulator.ledger))
    return OK


def bill_words(ledger: Ledger) -> str:
    """Return what was billed, in all and by key."""
    return "\n".join(_lines(ledger))


def _lines(ledger: Ledger) -> Iterator[str]:
    summary = ledger.summary()
    total = summary.total
    tokens = total.prompt_tokens + total.completion_tokens
    yield (
        f"The server's own bill: {counted(total.requests, 'call')}, of which {total.billed:,} "
        f"billed ({counted(tokens, 'token')})."
    )
    others = [
        f"{count:,} {_STATUS_WORDS.get(status, f'with status {status}')}"
        for status, count in sorted(summary.statuses.items())
        if status != 200
    ]
    if others:
        yield f"Not answered: {', '.join(others)}."
    if summary.billed_again:
        yield f"Equal requests that were billed again: {summary.billed_again:,}."
    for name, totals in sorted(summary.keys.items()):
        key = visible(name) or "no known key"
        yield f"  {key}: {totals.billed:,} of {totals.requests:,} billed"
