"""Say what a reply, or the lack of one, means. Pure: by type, status and code, never words."""

from __future__ import annotations

from ..core.records import Outcome, OutcomeKind, RawReply, Reply
from ..transport.base import SendFault
from .refusals import Clean, classify_refusal, outcome_of
from .responses import parse_object, read_answer
from .usage import read_usage


def classify(
    ended: RawReply | SendFault, path: str, *, wall_s: float, clean: Clean
) -> tuple[Outcome, Reply | None]:
    """Return what an attempt's end means, and the reply if it is a usable one."""
    if isinstance(ended, SendFault):
        kind = OutcomeKind.UNSENT if ended.kind == "unsent" else OutcomeKind.UNKNOWN
        return Outcome(kind=kind, code=ended.phase, message=clean(ended.reason)), None
    raw = parse_object(ended.body)
    if not 200 <= ended.status < 300:
        return classify_refusal(ended, ended.status, raw, wall_s=wall_s, clean=clean), None
    found = None if raw is None else read_answer(path, raw)
    if found is not None:
        usage = read_usage(found.raw)
        return outcome_of(ended, OutcomeKind.OK, wall_s=wall_s, usage=usage), found
    error = raw.get("error") if raw else None
    inner = error.get("code") if isinstance(error, dict) else None
    if isinstance(inner, int) and 400 <= inner < 600:  # some proxies wrap the error in a 200
        return classify_refusal(ended, inner, raw, wall_s=wall_s, clean=clean), None
    what = "not_json" if raw is None else "no_answer"
    message = f"status {ended.status} without a usable answer ({what})"
    usage = read_usage(raw or {})
    return outcome_of(ended, OutcomeKind.UNKNOWN, what, message, wall_s=wall_s, usage=usage), None
