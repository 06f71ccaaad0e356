"""Say what a reply, or the lack of one, means. Pure: by type, status and code, never words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..core.records import Outcome, OutcomeKind, RawReply, Reply
from ..transport.base import SendFault
from .refusals import DEAD_CODES, NOT_HERE_CODES, Clean, classify_refusal, outcome_of
from .responses import error_in, read_answer, read_raw, why_unusable
from .usage import read_usage

#: Where an error that came with status 200 tells the status that it stands for.
_STATUS_FIELDS = ("code", "status", "status_code", "http_code", "http_status")
#: What the words of other errors stand for: their code, type or status. Sources (read 2026-11):
#: https://platform.openai.com/docs/guides/error-codes, https://docs.claude.com/en/api/errors,
#: https://cloud.google.com/apis/design/errors#handling_errors.
_STATUS_OF_WORDS = {
    429: {"rate_limit_exceeded", "rate_limit_error", "too_many_requests", "resource_exhausted"},
    401: {*DEAD_CODES, "authentication_error", "unauthenticated"},
    404: {code.lower() for code in NOT_HERE_CODES},
    400: {
        "content_filter",
        "content_policy_violation",
        "context_length_exceeded",
        "invalid_argument",
        "invalid_request_error",
        "request_too_large",
    },
}
#: Fields of a body that is nothing but an error.
_REFUSAL_FIELDS = frozenset({"detail", "error_msg", "errors", "message", "msg"})
#: An error of which nothing is known is a server's, which may pass.
_SERVER_FAULT = 502


def classify(
    ended: RawReply | SendFault, path: str, *, wall_s: float, clean: Clean
) -> tuple[Outcome, Reply | None]:
    """Return what an attempt's end means, and the reply if it is an answer, usable or not."""
    if isinstance(ended, SendFault):
        kind = OutcomeKind.UNSENT if ended.kind == "unsent" else OutcomeKind.UNKNOWN
        return Outcome(kind=kind, code=ended.phase, message=clean(ended.reason)), None
    raw = read_raw(path, ended.body, ended.headers)
    if not 200 <= ended.status < 300:
        return classify_refusal(ended, ended.status, raw, wall_s=wall_s, clean=clean), None
    found = None if raw is None else read_answer(path, raw, clean=clean)
    usage, error = read_usage(raw or {}), error_in(raw or {})
    if error is None and found is None and raw and raw.keys() & _REFUSAL_FIELDS:
        error = raw
    is_paid = (usage is not None and usage.total_tokens) or (found is not None and found.text)
    if error is not None and not is_paid:
        said = {"error": error}
        return classify_refusal(ended, _status_of(error), said, wall_s=wall_s, clean=clean), None
    if found is None:
        what = "not_json" if raw is None else "no_answer"
        message = f"status {ended.status} without a usable answer ({what})"
        return outcome_of(ended, OutcomeKind.UNKNOWN, what, message, usage=usage), None
    if found.is_whole:
        return outcome_of(ended, OutcomeKind.OK, usage=usage), found
    outcome = outcome_of(
        ended, OutcomeKind.UNUSABLE, why_unusable(found), found.trouble, usage=usage
    )
    return outcome, found


def _status_of(error: Any) -> int:
    """Return the status that an error within a 200 stands for."""
    told = error if isinstance(error, Mapping) else {}
    values = [str(told.get(name) or "").strip() for name in _STATUS_FIELDS]
    for value in values:
        if re.fullmatch("[45][0-9][0-9]", value):
            return int(value)
    words = {word.lower() for word in (*values, str(told.get("type") or ""))}
    known = (status for status, codes in _STATUS_OF_WORDS.items() if words & codes)
    return next(known, _SERVER_FAULT)
