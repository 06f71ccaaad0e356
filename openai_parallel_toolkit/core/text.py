"""Put counts and reasons into words, alike everywhere."""

from __future__ import annotations


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return a number with what is counted; None: its plural ends in "s"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def brief(reason: str) -> str:
    """Return what a key's reason begins with, its status and code: enough when it was told."""
    return reason.partition(":")[0]
