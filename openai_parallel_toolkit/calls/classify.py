"""Say what a reply, or the lack of one, means. Pure: by type, status and code, never words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from ..core.records import Outcome, OutcomeKind, RawReply, Reply, Usage
from ..core.redaction import safe_words
from ..transport.base import SendFault
from .provider_codes import plain
from .rate_hints import rate_hints
from .refusals import (
    Clean,
    classify_refusal,
    is_web_page,
    outcome_of,
    provider_words,
    web_page,
)
from .responses import Found, error_in, find_answer, read_raw, reply_of, usage_of, why_unusable

#: Says at what tier the usage of an answer was served, and what it cost.
Bill = Callable[[Usage | None], tuple[Usage | None, Decimal | None]]

#: Fields of a body that is nothing but an error.
_REFUSAL_FIELDS = frozenset({"detail", "errormsg", "errors", "message", "msg"})


def classify(
    ended: RawReply | SendFault,
    path: str,
    *,
    wall_s: float,
    clean: Clean,
    bill: Bill = lambda usage: (usage, None),
    model: str = "",
) -> tuple[Outcome, Reply | None]:
    """Return what an attempt's end means, and the reply if it is an answer, usable or not.

    Args:
        clean: takes secrets out of the provider's words.
        model: which one was asked.
    """
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
    found = None if raw is None else find_answer(path, raw)
    usage = None if raw is None else usage_of(found, raw)
    if found is None or not found.is_whole:
        outcome = _without_answer(ended, raw, usage, found, wall_s=wall_s, clean=clean)
        if outcome is not None:
            return outcome, None
    assert raw is not None
    assert found is not None
    billed, cost_usd = bill(usage)
    kept = ended.as_kept(clean)
    reply = reply_of(
        *(found, raw, usage),
        clean=clean,
        asked_model=model,
        cost_usd=cost_usd,
        body=kept.body,
        headers=kept.headers,
    )
    outcome = Outcome(
        kind=OutcomeKind.OK if reply.is_whole else OutcomeKind.UNUSABLE,
        status=ended.status,
        code="" if reply.is_whole else why_unusable(reply),
        message=reply.trouble,
        hints=rate_hints(ended.headers, wall_s),
        usage=billed,
        cost_usd=cost_usd,
        request_id=kept.headers.get("x-request-id", ""),
    )
    return outcome, reply


def _without_answer(
    ended: RawReply,
    raw: Mapping[str, Any] | None,
    usage: Usage | None,
    found: Found | None,
    *,
    wall_s: float,
    clean: Clean,
) -> Outcome | None:
    """Return what a reply with a good status and without a whole answer means; None: it has one."""
    error = None if raw is None else error_in(raw)
    has_text = found is not None and found.text
    if error is None and raw and not has_text:
        is_nothing_else = found is None and not _REFUSAL_FIELDS.isdisjoint(map(plain, raw))
        error = raw if is_nothing_else or provider_words(raw).fault(None)[0] else None
    if error is not None and not (has_text or _counts_tokens(raw or {})):
        return classify_refusal(ended, ended.status, error, wall_s=wall_s, clean=clean)
    if found is not None:
        return None
    what = "not_json" if raw is None else "no_answer"
    message = f"status {ended.status} without a usable answer ({what})"
    kind = OutcomeKind.UNKNOWN
    return outcome_of(ended, kind, what, message, usage=usage, wall_s=wall_s, clean=clean)


def _counts_tokens(raw: Mapping[str, Any]) -> bool:
    """Return whether a reply tells of any tokens, even where their sum cannot be told."""
    usage = raw.get("usage")
    counts = usage.values() if isinstance(usage, dict) else ()
    return any(isinstance(count, int | float) and count > 0 for count in counts)
