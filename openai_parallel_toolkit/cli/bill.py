"""Put a simulated server's bill into words."""

from __future__ import annotations

from collections.abc import Iterator

from ..core.text import counted
from ..simulator import Ledger
from . import words

_STATUS_WORDS = {
    0: "without a reply",
    401: "refused for the key (401)",
    429: "refused for too many requests or no quota (429)",
}


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
        key = words.clean(name) or "no known key"
        yield f"  {key}: {totals.billed:,} of {totals.requests:,} billed"
