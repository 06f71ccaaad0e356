"""Say what a reply, or the lack of one, means. Pure: decides by type, status and code, never words.

The table stands in `_STATUS`; what a status alone does not tell, the provider's error code does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from ..core.records import Outcome, OutcomeKind, RateHints, RawReply, Reply
from ..transport.base import SendFault
from .responses import parse_object, read_answer, read_usage

_BUSY, _DEAD, _NOT_HERE = OutcomeKind.BUSY, OutcomeKind.KEY_DEAD, OutcomeKind.NOT_HERE
_REJECTED, _UNKNOWN = OutcomeKind.REJECTED, OutcomeKind.UNKNOWN

#: 504 and 524 come from a gateway that gave up on a server which may go on and bill.
_STATUS = {
    401: _DEAD,
    402: _DEAD,
    403: _DEAD,
    404: _NOT_HERE,
    408: _BUSY,
    409: _BUSY,
    425: _BUSY,
    429: _BUSY,
    504: _UNKNOWN,
    524: _UNKNOWN,
}

#: Source: https://platform.openai.com/docs/guides/error-codes (read 2026-11).
DEAD_CODES = frozenset(
    {
        "account_deactivated",
        "billing_hard_limit_reached",
        "billing_not_active",
        "insufficient_balance",
        "insufficient_quota",
        "invalid_api_key",
    }
)
NOT_HERE_CODES = frozenset({"model_not_found", "DeploymentNotFound", "OperationNotSupported"})

Clean = Callable[[str], str]


def classify(
    ended: RawReply | SendFault, path: str, *, wall_s: float, clean: Clean
) -> tuple[Outcome, Reply | None]:
    """Return what an attempt's end means, and the reply if it is a usable one."""
    if isinstance(ended, SendFault):
        kind = OutcomeKind.UNSENT if ended.kind == "unsent" else OutcomeKind.UNKNOWN
        return Outcome(kind=kind, code=ended.phase, message=clean(ended.reason)), None
    raw = parse_object(ended.body)
    if not 200 <= ended.status < 300:
        return _classify_error(ended, ended.status, raw, wall_s=wall_s, clean=clean), None
    found = None if raw is None else read_answer(path, raw)
    if found is not None:
        return _outcome(ended, OutcomeKind.OK, usage=read_usage(found.raw)), found
    error = raw.get("error") if raw else None
    inner = error.get("code") if isinstance(error, dict) else None
    if isinstance(inner, int) and 400 <= inner < 600:  # some proxies wrap the error in a 200
        return _classify_error(ended, inner, raw, wall_s=wall_s, clean=clean), None
    what = "not_json" if raw is None else "no_answer"
    message = f"status {ended.status} without a usable answer ({what})"
    return _outcome(ended, _UNKNOWN, what, message, usage=read_usage(raw or {})), None


def _classify_error(
    reply: RawReply, status: int, raw: dict[str, Any] | None, *, wall_s: float, clean: Clean
) -> Outcome:
    code, kind_word, message = _provider_words(raw)
    kind = _STATUS.get(status) or (_REJECTED if status < 500 else _BUSY)
    if {code, kind_word} & DEAD_CODES and status in {400, 401, 402, 403, 429}:
        kind = _DEAD
    elif code in NOT_HERE_CODES and status in {400, 403, 404}:
        kind = _NOT_HERE
    if status in {301, 302, 303, 307, 308}:
        message = "the server redirects elsewhere; set api_base to where it points"
    return _outcome(
        reply,
        kind,
        code or kind_word or f"http_{status}",
        clean(message or f"HTTP status {status}")[:1000],
        retry_after_s=_retry_after_s(reply.headers, wall_s) if kind is _BUSY else None,
        is_limit=kind is _BUSY and status == 429,
    )


def _outcome(
    reply: RawReply, kind: OutcomeKind, code: str = "", message: str = "", **more: Any
) -> Outcome:
    return Outcome(
        kind=kind,
        status=reply.status,
        code=code,
        message=message,
        hints=_hints(reply.headers),
        request_id=reply.headers.get("x-request-id", "")[:200],
        **more,
    )


def _provider_words(raw: dict[str, Any] | None) -> tuple[str, str, str]:
    """Return code, type and message of an error body; each "" when it has none."""
    error = (raw or {}).get("error", raw)
    if isinstance(error, str):
        return "", "", error
    if not isinstance(error, dict):
        return "", "", ""
    code, kind, message = (error.get(name) for name in ("code", "type", "message"))
    return tuple(v if isinstance(v, str) else "" for v in (code, kind, message))  # type: ignore[return-value]


def _retry_after_s(headers: Mapping[str, str], wall_s: float) -> float | None:
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


def _hints(headers: Mapping[str, str]) -> RateHints | None:
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
