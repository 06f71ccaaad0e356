"""Say what a reply, or the lack of one, means. Pure: by type, status and code, never words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.records import Outcome, OutcomeKind, RawReply, Reply
from ..core.redaction import safe_words
from ..transport.base import SendFault
from .refusals import Clean, classify_refusal, is_web_page, outcome_of, web_page
from .responses import error_in, read_answer, read_body, why_unusable
from .usage import read_usage

#: Fields of a body that is nothing but an error.
_REFUSAL_FIELDS = frozenset({"detail", "error_msg", "errors", "message", "msg"})


def classify(
    ended: RawReply | SendFault, path: str, *, wall_s: float, clean: Clean
) -> tuple[Outcome, Reply | None]:
    """Return what an attempt's end means, and the reply if it is an answer, usable or not."""
    if isinstance(ended, SendFault):
        kind = OutcomeKind.UNSENT if ended.kind == "unsent" else OutcomeKind.UNKNOWN
        return Outcome(
            kind=kind, code=ended.phase, message=safe_words(ended.reason, clean, 1_000)
        ), None
    if not 200 <= ended.status < 300:
        return classify_refusal(ended, ended.status, wall_s=wall_s, clean=clean), None
    raw = read_body(ended.body)
    if raw is None and is_web_page(ended):
        return web_page(ended, clean), None
    found = None if raw is None else read_answer(path, raw, clean=clean)
    usage, error = read_usage(raw or {}), error_in(raw or {})
    if error is None and found is None and raw and raw.keys() & _REFUSAL_FIELDS:
        error = raw
    is_paid = _counts_tokens(raw or {}) or (found is not None and found.text)
    if error is not None and not is_paid:
        return classify_refusal(ended, ended.status, error, wall_s=wall_s, clean=clean), None
    if found is None:
        what = "not_json" if raw is None else "no_answer"
        message = f"status {ended.status} without a usable answer ({what})"
        kind = OutcomeKind.UNKNOWN
        return outcome_of(ended, kind, what, message, usage=usage, wall_s=wall_s, clean=clean), None
    if found.is_whole:
        return outcome_of(ended, OutcomeKind.OK, usage=usage, wall_s=wall_s, clean=clean), found
    why = why_unusable(found)
    kind = OutcomeKind.UNUSABLE
    return outcome_of(
        ended, kind, why, found.trouble, usage=usage, wall_s=wall_s, clean=clean
    ), found


def _counts_tokens(raw: Mapping[str, Any]) -> bool:
    """Return whether a reply tells of any tokens, even where their sum cannot be told."""
    usage = raw.get("usage")
    counts = usage.values() if isinstance(usage, dict) else ()
    return any(isinstance(count, int | float) and count > 0 for count in counts)
