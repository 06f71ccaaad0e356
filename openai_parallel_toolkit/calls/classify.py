"""Say what a reply, or the lack of one, means. Pure: by type, status and code, never words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from ..core.records import Outcome, OutcomeKind, RawReply, Reply, Usage
from ..core.redaction import safe_words
from ..transport.base import SendFault
from .refusals import Clean, classify_refusal, is_web_page, outcome_of, web_page
from .responses import error_in, read_answer, read_raw, why_unusable
from .usage import read_usage

#: Says at what tier the usage of an answer was served, and what it cost.
Bill = Callable[[Usage | None], tuple[Usage | None, Decimal | None]]

#: Fields of a body that is nothing but an error.
_REFUSAL_FIELDS = frozenset({"detail", "error_msg", "errors", "message", "msg"})


def classify(
    ended: RawReply | SendFault,
    path: str,
    *,
    wall_s: float,
    clean: Clean,
    bill: Bill = lambda usage: (usage, None),
) -> tuple[Outcome, Reply | None]:
    """Return what an attempt's end means, and the reply if it is an answer, usable or not."""
    if isinstance(ended, SendFault):
        kind = OutcomeKind.UNSENT if ended.kind == "unsent" else OutcomeKind.UNKNOWN
        return Outcome(
            kind=kind, code=ended.phase, message=safe_words(ended.reason, clean, 1_000)
        ), None
    if not 200 <= ended.status < 300:
        return classify_refusal(ended, ended.status, wall_s=wall_s, clean=clean), None
    raw = read_raw(path, ended.body, ended.headers)
    if raw is None and is_web_page(ended):
        return web_page(ended, clean), None
    usage = None if raw is None else read_usage(raw)
    found = None if raw is None else read_answer(path, raw, clean=clean, usage=usage)
    is_whole = found is not None and found.is_whole
    error = None if raw is None or is_whole else error_in(raw)
    if error is None and found is None and raw and raw.keys() & _REFUSAL_FIELDS:
        error = raw
    has_text = found is not None and found.text
    if error is not None and not (has_text or _counts_tokens(raw or {})):
        return classify_refusal(ended, ended.status, error, wall_s=wall_s, clean=clean), None
    if found is None:
        what = "not_json" if raw is None else "no_answer"
        message = f"status {ended.status} without a usable answer ({what})"
        kind = OutcomeKind.UNKNOWN
        return outcome_of(ended, kind, what, message, usage=usage, wall_s=wall_s, clean=clean), None
    usage, cost_usd = bill(usage)
    kind, why = OutcomeKind.OK, ("", "")
    if not found.is_whole:
        kind, why = OutcomeKind.UNUSABLE, (why_unusable(found), found.trouble)
    outcome = outcome_of(
        ended, kind, *why, usage=usage, cost_usd=cost_usd, wall_s=wall_s, clean=clean
    )
    return outcome, found


def _counts_tokens(raw: Mapping[str, Any]) -> bool:
    """Return whether a reply tells of any tokens, even where their sum cannot be told."""
    usage = raw.get("usage")
    counts = usage.values() if isinstance(usage, dict) else ()
    return any(isinstance(count, int | float) and count > 0 for count in counts)
