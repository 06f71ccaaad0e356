"""Say what a client of a provider's API gets back: the provider's own words. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ..core.errors import RequestFailed
from ..core.records import OutcomeKind, RawReply, Reply, Request, canonical_json
from ..transport.base import HttpExchange
from .client_requests import stream_options
from .event_writer import write_event_stream
from .refusals import Clean

_EVENTS = "text/event-stream"
_EVENT_BEGINNINGS = (b"data:", b"event:", b"id:", b":")
#: What is told where the provider gave a status that says less than its body.
_STATUS_OF = {OutcomeKind.REJECTED: 400, OutcomeKind.BUSY: 503}


def given_back(came: Reply | RawReply, asked: Request | HttpExchange, clean: Clean) -> RawReply:
    """Return what came as it came, or as events where these were asked for and did not come.

    Args:
        clean: takes secrets out of the words of a refusal.
    """
    if isinstance(came, RawReply):
        shown = came.as_refusal(clean) if came.status >= 400 else came.as_kept(clean)
        return RawReply(status=shown.status, headers=_final(shown.headers), body=shown.body)
    body, headers = came.body, dict(came.headers)
    options = stream_options(asked) if isinstance(asked, Request) else None
    came_in_events = body.lstrip().startswith(_EVENT_BEGINNINGS)
    if options is not None and not came_in_events:
        with_usage = options.get("include_usage") is True
        body = write_event_stream(asked.path, came.raw, with_usage=with_usage)
        headers["content-type"] = _EVENTS
    elif options is None and came_in_events and came.raw:
        body, headers["content-type"] = canonical_json(came.raw), "application/json"
    return RawReply(status=200, headers=_final(headers), body=body)


def refused(error: RequestFailed) -> RawReply | None:
    """Return how the provider refused; None: there is no reply that says so."""
    reply, status = error.reply, error.status or 0
    if status < 400:
        status = _STATUS_OF.get(error.outcome, 0)
    if not status:
        return None
    if reply is None:
        said = {"message": error.message, "type": "", "param": None, "code": error.code or None}
        return RawReply(status=status, headers=_final({}), body=canonical_json({"error": said}))
    return RawReply(status=status, headers=_final(reply.headers), body=reply.body)


def _final(headers: Mapping[str, str]) -> dict[str, str]:
    """Have clients take it as the last word: all that could be tried again was."""
    return {"content-type": "application/json", **headers, "x-should-retry": "false"}
