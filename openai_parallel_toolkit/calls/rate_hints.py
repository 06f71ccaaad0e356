"""Read what a reply says of waiting and of limits: its headers, and the body of a refusal. Pure.

All of it is a hint from somebody else's server: what makes no sense is passed over.
Sources: https://platform.openai.com/docs/guides/rate-limits, RFC 9110 (Retry-After),
draft-ietf-httpapi-ratelimit-headers, https://docs.anthropic.com/en/api/rate-limits,
https://openrouter.ai/docs/api-reference/limits, google.rpc.RetryInfo (read 2026-11).
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from ..core.records import RateHints

#: The longest wait that is read; what is longer counts as this.
LONGEST_WAIT_S = 86_400.0
#: A number this close to now is a Unix time.
_NEAR_S = 10 * 365 * 86_400.0
_UNITS_S = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 0.001,
    "msec": 0.001,
    "millisecond": 0.001,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "m": 60.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hr": 3600.0,
    "hour": 3600.0,
    "d": 86_400.0,
    "day": 86_400.0,
}
_NUMBER = r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+"
#: A longer text is no time and no duration.
_MOST_CHARS = 100
_MOST_JSON_BYTES = 4_000_000
#: A whole number of no more digits is the same as a float.
_PLAIN_DIGITS = 15
#: A duration as a clock shows it, and the first of several values or one with parameters.
_CLOCK = re.compile(r"(?:([0-9]{1,4}):)?([0-9]{1,2}):([0-9]{1,2}(?:\.[0-9]{1,9})?)")
_FIRST = re.compile(r" ?([0-9.]{1,15}) ?[,;]")
_PART = re.compile(rf"({_NUMBER})\s*([a-zµ]+)[\s,]*")
#: A name that tells when a limit is reset; with "remaining" in place of "reset": what is left.
_RESET = re.compile(r"rate-?limit\b.*\breset\b")
#: What names a limit's reach: all models of an account, or one model of it.
_OF_ACCOUNT = re.compile(r"account|organi[sz]ation|project|tenant|workspace|user", re.IGNORECASE)
_OF_MODEL = re.compile(r"model|deployment|endpoint|engine", re.IGNORECASE)
_TELLS_MS = re.compile(r"[-_]?ms$")
#: Names without case, "-" and "_": of headers, and in a refusal's body.
_IN = r"(ms|s|secs?|seconds?)?"
_HEADER_NAMES = re.compile(rf"(x|xms|xratelimit)?retryafter{_IN}")
_BODY_NAMES = re.compile(rf"(retry(after|delay|in)|wait(for)?){_IN}")
_BODY_RESETS = re.compile(rf"resets?(after|at|in){_IN}")
_AGAIN = r"(?:try again|retry|wait|available|resets?)(?: again)?(?: in| after| for| at| on)?"
_WORDS = re.compile(
    rf"{_AGAIN}(?: about| approximately)?:?((?:\s*(?:{_NUMBER})\s*[a-zµ]+)+)"
    rf"|{_AGAIN}:?\s*([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ][0-9:.]+ ?(?:[A-Z]+|[+-][0-9:]+)?)",
    re.IGNORECASE,
)
#: A limit in the header of the newer drafts: left and reset, which 07 calls by their whole names.
_SPENT = re.compile(r"(?:\br|\bremaining)=0+\b[;,\s]*(?:t|reset)=([0-9]{1,15})")
_LIMIT = re.compile(
    r"\blimit:? (?P<a>[0-9,]+)(?:,? used:? [0-9,]+)?,? requested:? (?P<requested>[0-9,]+)"
    r"|\bof (?P<b>[0-9,]+) (?:\w+ )?tokens per min"
    r"|\bmax(?:imum)? size:? (?P<c>[0-9,]+) tokens",
    re.IGNORECASE,
)


def retry_after_s(headers: Mapping[str, str], wall_s: float, body: bytes = b"") -> float | None:
    """Return the seconds that a reply asks to wait; None: it does not say, or makes no sense.

    Args:
        body: what came with them; only a refusal tells of waiting there.
    """
    raw = _parsed(body)
    told = [_wait_s(value, wall_s, is_ms=is_ms) for is_ms, value in _waits_in(headers)]
    in_body = [_wait_of(name, value, wall_s) for name, value in _fields(raw)]
    resets = _resets_s(headers, wall_s) + _resets_s(_headers_in(raw), wall_s)
    resets += [
        wait_s
        for name, value in _fields(raw)
        if (wait_s := _named_wait_s(_BODY_RESETS, name, value, wall_s)) is not None
    ]
    waits_s = [told, [max(filter(None, in_body), default=None)], [max(resets, default=None)]]
    given = [wait_s for source in waits_s for wait_s in source if wait_s is not None]
    return next(filter(None, given), given[0] if given else None)


def _waits_in(headers: Mapping[str, str]) -> list[tuple[bool, str]]:
    """Return the waits that headers tell, and whether in ms: the most exact first."""
    names = [name for name in headers if _HEADER_NAMES.fullmatch(_plain(name))]
    names.sort(key=lambda name: (not name.endswith("-ms"), name != "retry-after"))
    return [(name.endswith("-ms"), headers[name]) for name in names]


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _parsed(body: bytes) -> object:
    if len(body) > _MOST_JSON_BYTES:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _resets_s(headers: Mapping[str, Any], wall_s: float) -> list[float]:
    """Return when each limit of which nothing is left is reset."""
    spent = [
        value
        for name, value in headers.items()
        if _RESET.search(name) and not _number(headers.get(name.replace("reset", "remaining")))
    ]
    waits_s = [wait_s for value in spent if (wait_s := _wait_s(value, wall_s)) is not None]
    return waits_s + [float(told) for told in _SPENT.findall(headers.get("ratelimit", "")[:1000])]


def _headers_in(raw: object) -> Mapping[str, Any]:
    """Return the headers that a refusal of OpenRouter's holds."""
    found = [value for name, value in _fields(raw) if name == "headers" and isinstance(value, dict)]
    return {str(name).lower(): value for each in found for name, value in each.items()}


def _wait_of(name: str, value: object, wall_s: float) -> float | None:
    """Return the wait that one field of a refusal's body tells, by its name or in its words."""
    wait_s = _named_wait_s(_BODY_NAMES, name, value, wall_s)
    if wait_s is not None or not isinstance(value, str):
        return wait_s
    found = _WORDS.finditer(value[:2000])
    waits_s = (duration_s(words[1]) if words[1] else _until_s(words[2], wall_s) for words in found)
    return next((max(wait_s, 0.0) for wait_s in waits_s if wait_s is not None), None)


def _named_wait_s(names: re.Pattern[str], name: str, value: object, wall_s: float) -> float | None:
    if len(name) > _MOST_CHARS or not names.fullmatch(_plain(name)):
        return None
    return _wait_s(value, wall_s, is_ms=bool(_TELLS_MS.search(name.lower())))


def _fields(raw: object, depth: int = 6) -> Iterator[tuple[str, Any]]:
    """Yield the named values in a body, however they are nested."""
    if isinstance(raw, dict):
        for name, value in raw.items():
            yield str(name), value
            if depth:
                yield from _fields(value, depth - 1)
    elif isinstance(raw, list) and depth:
        for value in raw[:20]:
            yield from _fields(value, depth - 1)


def _wait_s(value: object, wall_s: float, *, is_ms: bool = False) -> float | None:
    """Return the seconds from now that a value tells: a number, a duration, or a time."""
    number = _number(value)
    if number is None and isinstance(value, str):
        seconds = _span_s(value)
        seconds = _until_s(value, wall_s) if seconds is None else seconds
        first = _FIRST.match(value[:_MOST_CHARS]) if seconds is None else None
        seconds = _number(first[1]) if first else seconds
    elif number is None and isinstance(value, dict):  # a duration of protobuf, as an object
        seconds = _number(value.get("seconds", value.get("value")))
    elif number is not None and number > _NEAR_S and abs(number - wall_s) < _NEAR_S:
        seconds = number - wall_s
    elif number is not None and number > _NEAR_S and abs(number / 1000 - wall_s) < _NEAR_S:
        seconds = number / 1000 - wall_s
    else:
        seconds = None if number is None else number / 1000 if is_ms else number
    return None if seconds is None else min(max(seconds, 0.0), LONGEST_WAIT_S)


def _until_s(text: str, wall_s: float) -> float | None:
    """Return the seconds until a date, of HTTP's form or ISO 8601."""
    if len(text) > _MOST_CHARS:
        return None
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            # Python 3.10 knows no "Z" and only 3 or 6 digits of a second.
            plain = re.sub(r"(?i) ?(?:UTC|GMT|Z)$", "+00:00", text.strip())
            when = read(re.sub(r"\.\d+", "", plain))
            when = when if when.tzinfo else when.replace(tzinfo=timezone.utc)
            return when.timestamp() - wall_s
        except (ValueError, OverflowError, OSError, TypeError, IndexError):
            continue
    return None


def _number(value: object) -> float | None:
    if isinstance(value, str):
        if len(value) > _MOST_CHARS or value[-1:].isalpha():  # has a unit, or is not finite
            return None
        value = value.strip('"')
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def duration_s(text: str | None) -> float | None:
    """Return the seconds in a duration such as "1m30.5s" or "12ms" or "7"; None: it is none."""
    plain = _number(text)
    return _span_s(text or "") if plain is None else max(0.0, plain)


@functools.lru_cache(maxsize=1_024)
def _span_s(text: str) -> float | None:
    """Return the seconds in a duration whose numbers have units; None: it is none.

    Also one of ISO 8601, such as "PT30S", and one of a clock, such as "00:00:30".
    """
    text = text.strip().strip('"').lower() if len(text) <= _MOST_CHARS else ""
    clock = _CLOCK.fullmatch(text)
    if clock:
        return float(clock[1] or 0) * 3600 + float(clock[2]) * 60 + float(clock[3])
    if text.startswith("p"):
        text = text[1:].replace("t", "")
    if not text or _PART.sub("", text):
        return None
    total_s = 0.0
    for amount, unit in _PART.findall(text):
        unit_s = _UNITS_S.get(unit) or _UNITS_S.get(unit.removesuffix("s"))
        if unit_s is None:
            return None
        total_s += float(amount) * unit_s
    return total_s if math.isfinite(total_s) else None


def _names(*forms: str) -> tuple[tuple[str, str, str], ...]:
    return tuple(
        (form.format("limit"), form.format("remaining"), form.format("reset")) for form in forms
    )


_REQUESTS = _names(
    "x-ratelimit-{}-requests",
    "x-ratelimit-{}-requests-minute",
    "anthropic-ratelimit-requests-{}",
)
#: Of a window that only the time of its reset tells.
_ANY_WINDOW = _names("x-ratelimit-{}", "ratelimit-{}")
_TOKENS = _names(
    "x-ratelimit-{}-tokens",
    "x-ratelimit-{}-tokens-minute",
    "anthropic-ratelimit-tokens-{}",
)


def rate_hints(headers: Mapping[str, str], wall_s: float) -> RateHints | None:
    """Return the limits that a reply's headers tell; None: none."""
    limit_requests, remaining_requests, reset_requests_s = _limit_of(headers, _REQUESTS, wall_s)
    if limit_requests is None:
        limit_requests, remaining_requests, reset_requests_s = _limit_of(
            headers, _ANY_WINDOW, wall_s
        )
        if remaining_requests is None or not reset_requests_s:
            limit_requests = None
    limit_tokens, remaining_tokens, reset_tokens_s = _limit_of(headers, _TOKENS, wall_s)
    if limit_requests is None and limit_tokens is None:
        return None
    return RateHints(
        limit_requests=limit_requests,
        remaining_requests=remaining_requests,
        reset_requests_s=reset_requests_s,
        limit_tokens=limit_tokens,
        remaining_tokens=remaining_tokens,
        reset_tokens_s=reset_tokens_s,
    )


def _limit_of(
    headers: Mapping[str, str], forms: tuple[tuple[str, str, str], ...], wall_s: float
) -> tuple[int | None, int | None, float | None]:
    for limit, remaining, reset in forms:
        if limit in headers:
            whole, left = _whole(headers[limit]), _whole(headers.get(remaining))
            return whole, left, _wait_s(headers.get(reset), wall_s)
    return None, None, None


def _whole(text: str | None) -> int | None:
    if text is not None and text.isdecimal() and len(text) <= _PLAIN_DIGITS:
        return int(text)
    value = _number(text)
    return None if value is None or value < 0 else int(value)


def is_of_all_models(headers: Mapping[str, str], body: bytes) -> bool:
    """Return whether a refusal's codes say that its limit is of all models together.

    Sources: Google's quotaId, GitHub's x-ratelimit-type, Volcengine's AccountRateLimitExceeded
    (read 2026-11).
    """
    names = {"quotaid", "code", "type", "reason", "scope"}
    told = [value for name, value in _fields(_parsed(body)) if name.lower() in names]
    words = [text for text in (*told, headers.get("x-ratelimit-type")) if isinstance(text, str)]
    of_account = any(_OF_ACCOUNT.search(text) for text in words)
    return of_account and not any(_OF_MODEL.search(text) for text in words)


def told_limit(words: str) -> tuple[int, int | None] | None:
    """Return the limit of tokens in a refusal's words, and what was asked; None: none is told.

    For example "... tokens per min (TPM): Limit 30000, Requested 45000": (30000, 45000). What was
    asked is None where only the limit is told.
    """
    found = _LIMIT.search(words[:2000])
    if found is None:
        return None
    limit = found["a"] or found["b"] or found["c"]
    numbers = [(text or "").replace(",", "") for text in (limit, found["requested"])]
    told, asked = (int(text) if text else None for text in numbers)
    return None if not told else (told, asked)
