"""Say whose fault a refusal is. Pure: by status and by the codes of `provider_codes`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from ..core.records import Outcome, OutcomeKind, RawReply, Suspect
from ..core.redaction import safe_words
from .provider_codes import Blame, fault_of, fault_told, is_general, plain
from .rate_hints import rate_hints, retry_after_s

Clean = Callable[[str], str]

_BUSY, _REJECTED, _UNKNOWN = OutcomeKind.BUSY, OutcomeKind.REJECTED, OutcomeKind.UNKNOWN
#: What follows from a status alone. 504 and 524 come from a gateway that gave up on a server
#: which may go on and bill.
_KIND_OF_STATUS = {
    401: OutcomeKind.KEY_DEAD,
    408: _BUSY,
    409: _BUSY,
    425: _BUSY,
    429: _BUSY,
    498: _BUSY,
    504: _UNKNOWN,
    524: _UNKNOWN,
}
_KIND_OF_FAULT = {
    Blame.KEY: OutcomeKind.KEY_DEAD,
    Blame.QUOTA: OutcomeKind.KEY_DEAD,
    Blame.MODEL: OutcomeKind.NOT_HERE,
    Blame.LIMIT: _BUSY,
    Blame.SERVICE: _BUSY,
    Blame.REQUEST: _REJECTED,
    Blame.NO_ROOM: _REJECTED,
    Blame.ADDRESS: _REJECTED,
}
#: Statuses that say too little: a code, or a second such refusal, tells more.
_SUSPECT_OF_STATUS = {
    400: Suspect.NOBODY,
    402: Suspect.KEY,
    412: Suspect.KEY,
}
#: Those that are about the request alone. All others may be about the model under this key.
_OF_REQUEST = frozenset({411, 413, 414, 415, 416, 422, 431})
#: Statuses with which a server says that there is nothing at this place.
_NOWHERE = (404, 405)
#: The only status that tells more than any code of the body.
_TOO_LARGE = 413
_REDIRECTS = (301, 302, 303, 307, 308)
#: What an error in a reply that is none by its status stands for, where it has no status itself.
_STATUS_OF_FAULT: dict[Blame | None, int] = {
    Blame.KEY: 401,
    Blame.QUOTA: 402,
    Blame.MODEL: 404,
    Blame.LIMIT: 429,
    Blame.REQUEST: 400,
    Blame.ACCESS: 403,
}
_OTHERWISE = 502

#: Where bodies keep words that say why, most telling first; in each the same may be again. Names
#: that differ in case, dashes and underscores are one.
_WRAPPERS = ("response", "baseresp", "fault", "body")
_INNER = ("details", "innererror", "error", "errors", "detail", "message", *_WRAPPERS)
_CODES = ("reason", "errorcode", "code", "errortype", "type", "status", "httpcode", "statuscode")
_MESSAGES = (
    *("error", "errors", "message", "msg", "errormsg", "errormessage", "errordescription"),
    *("detail", "statusmsg", "faultstring", *_WRAPPERS, "title"),
)
#: A number that is none of HTTP's counts under this name only.
_NUMBERED = "statuscode"
#: What a router hands on of the provider behind it; it says nothing of our key.
_BEHIND = frozenset({Blame.LIMIT, Blame.SERVICE, Blame.REQUEST})
_DEEPEST, _MOST_LISTED, _MOST_FIELDS = 6, 8, 100
_MOST_CODES, _LONGEST_CODE = 64, 200
#: Characters of a provider's words that are read, and those that are kept.
_MOST_READ, _MOST_TOLD = 8_192, 1_000
_MOST_JSON_BYTES = 4_000_000

CHECK_API_BASE = "check api_base: it usually ends in /v1"
_PAGE = f"a web page came instead of an answer; {CHECK_API_BASE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderWords:
    """What a refusal says of itself."""

    #: Codes, types, reasons and statuses, most telling first.
    codes: Sequence[str] = ()
    #: Of the provider behind a router.
    behind: Sequence[str] = ()
    message: str = ""
    #: Whether it lists why the text was flagged.
    is_flagged: bool = False

    @property
    def http_status(self) -> int | None:
        """Return the HTTP status that the body names; None: none."""
        numbers = (
            int(code) for code in self.codes if len(code) == 3 and code.isascii() and code.isdigit()
        )
        return next((number for number in numbers if 400 <= number < 600), None)

    def fault(self, status: int | None) -> tuple[Blame | None, str]:
        """Return what it is about, as far as that is known, and the code that says so."""
        own = [(fault_of(code, status), code) for code in self.codes]
        behind = [(fault_of(code, status), code) for code in self.behind]
        told = (fault_told(self.message), "")
        general = [(Blame.REQUEST, code) for code in self.codes if is_general(code)]
        found = [
            *((fault, code) for fault, code in own if fault not in (None, Blame.ACCESS)),
            *([(Blame.REQUEST, "moderation")] if self.is_flagged else []),
            *([told] if told[0] is not None else []),
            *((fault, code) for fault, code in behind if fault in _BEHIND),
            *((fault, code) for fault, code in own if fault is Blame.ACCESS),
            *(general if status == 400 else []),
        ]
        return next(iter(found), (None, ""))


def classify_refusal(
    reply: RawReply, status: int, raw: object = None, *, wall_s: float, clean: Clean
) -> Outcome:
    """Return what a refusal means.

    Args:
        status: what it was refused with; below 300: the error in a reply that is none by its
            status says it.
        raw: the error or the whole body, any JSON value; None: it is read from the reply.
    """
    raw = _value_of(reply.body) if raw is None else raw
    is_page, words = is_web_page(reply), provider_words(raw)
    if status < 300:
        fault, _ = words.fault(None)
        otherwise = 400 if any(map(is_general, words.codes)) else _OTHERWISE
        status = words.http_status or _STATUS_OF_FAULT.get(fault, otherwise)
    fault, code = words.fault(status)
    if status in _NOWHERE and (status == 405 or isinstance(raw, str)):
        fault = Blame.ADDRESS
    kind = _kind(status, fault)
    named = next((code for code in words.codes if not code.isdigit()), "")
    return outcome_of(
        reply,
        kind,
        code or named or ("web_page" if is_page else f"http_{status}"),
        _message(reply, status, fault, words.message),
        wall_s=wall_s,
        clean=clean,
        suspect=_suspect(status, fault) if kind is _REJECTED else None,
        retry_after_s=retry_after_s(reply.headers, wall_s, reply.body) if kind is _BUSY else None,
        is_limit=kind is _BUSY and (status == 429 or fault is Blame.LIMIT),
    )


def _message(reply: RawReply, status: int, fault: Blame | None, told: str) -> str:
    if status in _REDIRECTS:
        return "the server redirects elsewhere; set api_base to where it points"
    if is_web_page(reply):
        told = f"HTTP status {status} with a web page"
    message = told or f"HTTP status {status}"
    is_nowhere = fault is Blame.ADDRESS and status in _NOWHERE
    return f"{message.rstrip('.')}; {CHECK_API_BASE}" if is_nowhere else message


def _kind(status: int, fault: Blame | None) -> OutcomeKind:
    plain_kind = _KIND_OF_STATUS.get(status) or (_REJECTED if status < 500 else _BUSY)
    if status == 401 and fault is not Blame.MODEL:
        return plain_kind
    if (plain_kind in (_BUSY, _UNKNOWN) and status != 429) or status == _TOO_LARGE:
        return plain_kind
    return plain_kind if fault is None else _KIND_OF_FAULT.get(fault, plain_kind)


def _suspect(status: int, fault: Blame | None) -> Suspect | None:
    if fault is Blame.ADDRESS and status in _NOWHERE:
        return Suspect.ADDRESS
    if status in _OF_REQUEST or fault not in (None, Blame.ACCESS):
        return None
    return _SUSPECT_OF_STATUS.get(status, Suspect.MODEL)


def of_no_text(outcome: Outcome) -> Outcome:
    """Return what a refusal means of which no text can be the fault: of a list, a file, a batch."""
    if outcome.kind is _REJECTED and outcome.status in _NOWHERE:
        return replace(outcome, kind=OutcomeKind.NOT_HERE, suspect=None)
    if outcome.suspect in (Suspect.KEY, Suspect.MODEL):
        return replace(outcome, kind=OutcomeKind.KEY_DEAD, suspect=None)
    return outcome


def outcome_of(
    reply: RawReply,
    kind: OutcomeKind,
    code: str = "",
    message: str = "",
    *,
    wall_s: float,
    clean: Clean,
    **more: Any,
) -> Outcome:
    """Return an outcome in which nothing that the server said shows a secret or has no end."""
    return Outcome(
        kind=kind,
        status=reply.status,
        code=safe_words(code, clean, _LONGEST_CODE),
        message=safe_words(message, clean, _MOST_TOLD),
        hints=rate_hints(reply.headers, wall_s),
        request_id=safe_words(reply.headers.get("x-request-id", ""), clean, _LONGEST_CODE),
        **more,
    )


def web_page(reply: RawReply, clean: Clean) -> Outcome:
    """Return what a web page in the place of an answer means: it may hide one that is billed."""
    suspect = Suspect.ADDRESS
    return outcome_of(reply, _UNKNOWN, "web_page", _PAGE, wall_s=0.0, clean=clean, suspect=suspect)


def is_web_page(reply: RawReply) -> bool:
    """Return whether a reply is a web page."""
    kind = reply.headers.get("content-type", "")[:_LONGEST_CODE].partition(";")[0].strip().lower()
    beginning = reply.body[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if beginning.startswith((b"{", b"[")):  # JSON, whatever it is called
        return False
    return kind in ("text/html", "application/xhtml+xml") or beginning.startswith(
        (b"<!doctype html", b"<html", b"<?xml", b"<head", b"<body")
    )


def provider_words(value: object) -> ProviderWords:
    """Return what an error says of itself, whatever form its body has.

    Args:
        value: any JSON value; also a text, which may hold JSON.
    """
    behind = provider_words(_raw_in(value)) if _raw_in(value) is not None else ProviderWords()
    codes = list(dict.fromkeys(islice(_codes_in(value, 0), _MOST_CODES)))
    message = _message_in(value, 0)
    if behind.message and behind.message not in message:
        message = f"{message}: {behind.message}" if message else behind.message
    return ProviderWords(
        codes=codes,
        behind=[*behind.codes, *behind.behind],
        message=message[:_MOST_READ],
        is_flagged=any(_metadata(one).get("reasons") for one in _errors_in(value)),
    )


def _codes_in(value: object, depth: int) -> Iterator[str]:
    """Yield all codes, those from within first."""
    for part in _opened(value, depth):
        for name in _INNER:
            yield from _codes_in(part.get(name), depth + 1)
        for name in _CODES:
            code = part.get(name)
            if isinstance(code, (str, int)) and not isinstance(code, bool):
                word = str(code)[:_MOST_READ].strip()
                if word:
                    yield f"status_code:{word}" if name == _NUMBERED and len(word) != 3 else word


def _message_in(value: object, depth: int) -> str:
    """Return the message that is furthest within."""
    value = _unwrapped(value)
    if isinstance(value, str):
        return value[:_MOST_READ].strip()
    told = []
    for part in _opened(value, depth):
        found = (_message_in(part.get(name), depth + 1) for name in _MESSAGES)
        told.append(next(filter(None, found), ""))
    return "; ".join(dict.fromkeys(filter(None, told)))


def _errors_in(value: object) -> Iterator[Mapping[str, Any]]:
    for part in _opened(value, 0):
        yield part
        yield from _opened(part.get("error"), 1)


def _metadata(error: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = error.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}


def _raw_in(value: object) -> object:
    return next(filter(None, (_metadata(one).get("raw") for one in _errors_in(value))), None)


def _opened(value: object, depth: int) -> Iterator[Mapping[str, Any]]:
    """Yield the objects that a value is, lists, or holds as JSON in a text; their names plain."""
    value = _unwrapped(value)
    if depth > _DEEPEST:
        return
    if isinstance(value, Mapping):
        named = ((str(name), part) for name, part in islice(value.items(), _MOST_FIELDS))
        yield {plain(name): part for name, part in named if not name.startswith("@")}
    elif isinstance(value, list):
        for one in value[:_MOST_LISTED]:
            yield from _opened(one, depth + 1)


def _unwrapped(value: object) -> object:
    """Return the JSON that a text holds; all else as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        return _value_of(value.encode())
    return value


def _value_of(body: bytes) -> object:
    """Return the JSON in a body, or its text if it is none."""
    with suppress(ValueError, RecursionError):
        if len(body) <= _MOST_JSON_BYTES:
            return json.loads(body)
    return body[:_MOST_READ].decode(errors="replace")
