"""Say whose fault a refusal is. Pure: by status, code and type, never by words.

The table stands in `_STATUS`; what a status alone does not tell, the provider's error code does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.records import Outcome, OutcomeKind, RawReply
from .rate_hints import rate_hints, retry_after_s

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


def classify_refusal(
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
    return outcome_of(
        reply,
        kind,
        code or kind_word or f"http_{status}",
        clean(message or f"HTTP status {status}")[:1000],
        wall_s=wall_s,
        retry_after_s=retry_after_s(reply.headers, wall_s, reply.body) if kind is _BUSY else None,
        is_limit=kind is _BUSY and status == 429,
    )


def outcome_of(
    reply: RawReply,
    kind: OutcomeKind,
    code: str = "",
    message: str = "",
    *,
    wall_s: float,
    **more: Any,
) -> Outcome:
    return Outcome(
        kind=kind,
        status=reply.status,
        code=code,
        message=message,
        hints=rate_hints(reply.headers, wall_s),
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
