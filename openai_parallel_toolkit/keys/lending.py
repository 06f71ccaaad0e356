"""Say what became of a key by how the code failed that had it, whatever it sent with."""

from __future__ import annotations

from typing import Any

from ..core.records import Outcome, OutcomeKind

#: Where errors of openai, requests, httpx, urllib and aiohttp have the status of the reply.
_STATUS_FIELDS = ("status_code", "status", "code")
_STATUS = {401: OutcomeKind.KEY_DEAD, 408: OutcomeKind.BUSY, 429: OutcomeKind.BUSY}


def outcome_of(error: BaseException) -> Outcome:
    """Return how what was sent under a key ended, by the error of the client that sent it."""
    status = _status_in(error) or _status_in(getattr(error, "response", None))
    if status is None:
        return Outcome(kind=OutcomeKind.UNKNOWN, code=type(error).__name__)
    kind = _STATUS.get(status, OutcomeKind.BUSY if status >= 500 else OutcomeKind.REJECTED)
    return Outcome(
        kind=kind,
        status=status,
        code=f"http_{status}",
        message=f"HTTP status {status}, to code that sends by itself",
        is_limit=status == 429,
    )


def _status_in(carrier: Any) -> int | None:
    found = (getattr(carrier, name, None) for name in _STATUS_FIELDS)
    statuses = (value for value in found if isinstance(value, int) and 400 <= value < 600)
    return next(statuses, None)
