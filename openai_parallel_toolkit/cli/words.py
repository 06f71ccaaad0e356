"""Put what the journal knows into words, columns and JSON values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from ..costs.tally import CallFigures
from ..journal import Figures
from ..runs.report import money


def clean(text: str) -> str:
    """Return text in one line, with all that could steer a terminal written out."""
    return "".join(sign if sign.isprintable() else _escape(sign) for sign in text)


def _escape(sign: str) -> str:
    return repr(sign)[1:-1] if sign.isascii() else sign.encode("unicode_escape").decode()


def shorten(text: str, most: int) -> str:
    """Return at most so many characters, the end of what was longer marked."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def columns(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as lines with aligned columns."""
    table = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in table
    )
    return "\n".join(line.rstrip() for line in padded)


def moment(wall_s: float) -> str:
    """Return seconds since 1970 as local time."""
    return datetime.fromtimestamp(wall_s).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def cost(figures: Figures) -> str:
    """Return the cost, from what is known to what is possible; unknown is never 0."""
    if not figures.answered and figures.max_cost_usd == 0 and not figures.unpriced:
        return "nothing was bought"
    return money(
        CallFigures(
            cost_usd=figures.cost_usd,
            max_cost_usd=figures.max_cost_usd,
            unpriced=figures.unpriced,
        )
    )


def calls(figures: Figures) -> str:
    """Return what became of the calls."""
    parts = [f"{figures.sent:,} sent", f"{figures.answered:,} answered"]
    if figures.unknown:
        parts.append(f"{figures.unknown:,} unknown (maybe billed)")
    if figures.unanswered:
        parts.append(f"{figures.unanswered:,} in flight or lost (maybe billed)")
    return ", ".join(parts)


def tokens(figures: Figures) -> int:
    """Return all tokens that were counted."""
    return figures.prompt_tokens + figures.completion_tokens


def figures_json(figures: Figures) -> dict[str, Any]:
    """Return figures as JSON values; an amount that is not known is null."""
    known = figures.cost_usd or not figures.unpriced
    return {
        "sent": figures.sent,
        "answered": figures.answered,
        "unknown": figures.unknown,
        "unanswered": figures.unanswered,
        "prompt_tokens": figures.prompt_tokens,
        "completion_tokens": figures.completion_tokens,
        "cached_tokens": figures.cached_tokens,
        "cost_usd": usd_json(figures.cost_usd if known else None),
        "max_cost_usd": usd_json(None if figures.unpriced else figures.max_cost_usd),
        "unpriced": figures.unpriced,
    }


def usd_json(amount_usd: Decimal | None) -> str | None:
    """Return dollars as text, exactly; None: not known."""
    return None if amount_usd is None else format(amount_usd, "f")
