"""Put counts, times and reasons into words, alike everywhere."""

from __future__ import annotations

from decimal import Decimal


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return a number with what is counted; None: its plural ends in "s"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def dollars(amount_usd: Decimal | float) -> str:
    """Return USD to four places, to more where two digits of it stand behind them: "$0.000021"."""
    amount = Decimal(amount_usd)
    places = max(4, 1 - amount.adjusted()) if amount else 0
    return f"${amount:,.{places}f}"


def visible(text: str, *, keep: str = "") -> str:
    """Return text with all that could steer a terminal written out, line feeds included.

    Args:
        keep: such characters that stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else _escape(c) for c in text)


def _escape(sign: str) -> str:
    return repr(sign)[1:-1] if sign.isascii() else sign.encode("unicode_escape").decode()


def brief(reason: str) -> str:
    """Return what a key's reason begins with, its status and code: enough when it was told."""
    return reason.partition(": ")[0]


def duration(seconds: float) -> str:
    """Return seconds as people say them: "0.8 s", "12 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest_s = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest_s} s"
    return f"{minutes // 60} h {minutes % 60} min"
