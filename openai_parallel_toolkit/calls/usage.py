"""Read the tokens that a reply says it used. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.records import Usage


def read_usage(raw: Mapping[str, Any]) -> Usage | None:
    """Return the tokens that a reply says it used; None: it does not say."""
    usage = raw.get("usage")
    if not isinstance(usage, dict):
        return None
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    return Usage(
        prompt_tokens=_count(usage, "prompt_tokens", "input_tokens"),
        completion_tokens=_count(usage, "completion_tokens", "output_tokens"),
        cached_tokens=_count(details, "cached_tokens") if isinstance(details, dict) else 0,
    )


def _count(usage: Mapping[str, Any], *names: str) -> int:
    for name in names:
        value = usage.get(name)
        if isinstance(value, int) and value > 0:
            return value
    return 0
