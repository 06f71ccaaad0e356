"""Read what a reply's headers say of waiting and of limits. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from ..core.records import RateHints


def retry_after_s(headers: Mapping[str, str], wall_s: float) -> float | None:
    """Return the seconds that a reply asks to wait; None: it does not say, or makes no sense."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return max(0.0, milliseconds / 1000)
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None:
        return max(0.0, seconds)
    if text is None:
        return None
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - wall_s)
    except (ValueError, OverflowError, OSError):
        return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def rate_hints(headers: Mapping[str, str]) -> RateHints | None:
    if "x-ratelimit-limit-requests" not in headers and "x-ratelimit-limit-tokens" not in headers:
        return None

    def whole(name: str) -> int | None:
        value = _number(headers.get(f"x-ratelimit-{name}"))
        return None if value is None or value < 0 else int(value)

    return RateHints(
        limit_requests=whole("limit-requests"),
        remaining_requests=whole("remaining-requests"),
        reset_requests_s=duration_s(headers.get("x-ratelimit-reset-requests")),
        limit_tokens=whole("limit-tokens"),
        remaining_tokens=whole("remaining-tokens"),
        reset_tokens_s=duration_s(headers.get("x-ratelimit-reset-tokens")),
    )


_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ms|[smhd])")


def duration_s(text: str | None) -> float | None:
    """Return the seconds in a duration such as "1m30.5s" or "12ms" or "7"; None: it is none."""
    plain = _number(text)
    if plain is not None:
        return max(0.0, plain)
    parts = _PART.findall(text or "")
    if not parts or "".join(map("".join, parts)) != (text or "").strip():
        return None
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)
