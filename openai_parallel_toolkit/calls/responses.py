"""Read what a provider sent: the answer's text, why it ended, and whether it is whole. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

from ..core.records import Reply, Request, Usage
from ..core.redaction import safe_words
from ..costs.model_price import STANDARD_TIERS
from .event_stream import read_event_stream
from .provider_codes import plain
from .refusals import provider_words
from .usage import read_usage

#: The ending of what is read by no rule: a path that is not known.
_GENERATED = "generated"
#: How a whole answer ends, in lower case; every other word says that it is none.
#: Sources (read 2026-11): https://platform.openai.com/docs/api-reference/chat/object (stop,
#: tool_calls, function_call), https://docs.together.ai/reference/chat-completions-1 (eos),
#: https://docs.claude.com/en/api/handling-stop-reasons (end_turn, stop_sequence, tool_use),
#: https://docs.cohere.com/reference/chat (complete, tool_call), watsonx and text-generation-
#: inference (eos_token), Baidu's Qianfan (normal), and "end" and "completed" of gateways.
GOOD_ENDINGS = frozenset(
    {
        "complete",
        "completed",
        "end",
        "end_turn",
        "eos",
        "eos_token",
        "function_call",
        _GENERATED,
        "normal",
        "stop",
        "stop_sequence",
        "tool_call",
        "tool_calls",
        "tool_use",
    }
)
#: What some put before an ending, without marks: names of enumerations.
_BEFORE_ENDING = ("finishreason", "reason")
_PLAIN_ENDINGS = frozenset(map(plain, GOOD_ENDINGS))
#: How an answer ends that was cut on purpose, and would be again; its text is worth having.
CUT_ENDINGS = frozenset(
    {
        "content_filter",
        "length",
        "max_output_tokens",
        "max_tokens",
        "model_context_window_exceeded",
        "model_length",
        "refusal",
    }
)
#: Those of an answer that had no more room.
OUT_OF_ROOM = frozenset({"length", "max_output_tokens", "max_tokens"})
#: By how much a limit must be above what came, for tokens may be counted otherwise.
_COUNTED_OTHERWISE = 1.1
#: Characters of the provider's words that are kept.
_MOST_WORDS = 1_000
#: And of a name of the provider's: a model, an ending.
_MOST_NAME = 200
#: What a message may hold instead of a text.
_BESIDE_TEXT = ("tool_calls", "function_call", "audio", "images")
#: Kinds of parts that are the answer; others are thoughts, references, images.
_TEXT_PARTS = frozenset({"text", "output_text"})
_NO_USAGE = Usage()
#: How an object in UTF-8 begins.
_USUAL = (b'{"', b"{\n")


class _Read(NamedTuple):
    """What a reply holds, by the rules of its path."""

    text: str
    #: "": it is not told.
    ending: str
    #: Whether there is anything to be used.
    is_there: bool


class Found(NamedTuple):
    """An answer, as the reply holds it."""

    text: str
    #: "": it is not told.
    ending: str
    #: What it says went wrong; None: nothing.
    error: Any
    #: Whether it ended well and holds something.
    is_whole: bool


def parse_object(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object in `body`; None: it is something else."""
    try:
        # The json module looks for an encoding first.
        value = json.loads(body.decode() if body.startswith(_USUAL) else body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read_body(body: bytes) -> dict[str, Any] | None:
    """Return the reply in a body, however it was sent; None: it is something else, or was cut."""
    raw = parse_object(body)
    return read_event_stream(body) if raw is None else raw


def read_raw(path: str, body: bytes, headers: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the reply in a body as `read_body` does.

    Paths that are not known may be answered by what is no JSON, such as speech: it is empty then.
    """
    raw = read_body(body)
    if raw is None and path not in _READERS and body:
        return None if "html" in headers.get("content-type", "") else {}
    field = _FIELDS.get(path)
    return raw if raw is None or field is None or field in raw else _unwrapped(raw, field)


def _unwrapped(raw: dict[str, Any], field: str) -> dict[str, Any]:
    """Return a reply that a gateway put into a field of its own, beside what it says itself."""
    for name in _WRAPPERS:
        inner = raw.get(name)
        inner = parse_object(inner.encode()) if isinstance(inner, str) else inner
        if isinstance(inner, dict) and isinstance(inner.get(field), list):
            return {**{one: raw[one] for one in raw if one != name}, **inner}
    return raw


def read_answer(
    path: str, raw: Mapping[str, Any], *, clean: Callable[[str], str], asked_model: str = ""
) -> Reply | None:
    """Return what a reply body to `path` holds, without its cost; None: it holds no answer.

    Args:
        clean: takes secrets out of the provider's words.
        asked_model: as for `reply_of`.
    """
    found = find_answer(path, raw)
    if found is None:
        return None
    return reply_of(found, raw, usage_of(found, raw), clean=clean, asked_model=asked_model)


def usage_of(found: Found | None, raw: Mapping[str, Any]) -> Usage | None:
    """Return the tokens that a reply says it used; None: it does not tell of its text."""
    usage = read_usage(raw)
    is_none_told = usage is not None and not usage.completion_tokens
    return None if is_none_told and found is not None and found.text else usage


def find_answer(path: str, raw: Mapping[str, Any]) -> Found | None:
    """Return the answer in a reply body to `path`; None: it holds none.

    Paths that are not known are answered by any object.
    """
    read = _READERS.get(path, _read_anything)(raw)
    if read is None:
        return None
    error = error_in(raw)
    is_whole = read.is_there and error is None and _is_good(read.ending)
    return Found(read.text, read.ending, error, is_whole)


def reply_of(
    found: Found,
    raw: Mapping[str, Any],
    usage: Usage | None,
    *,
    clean: Callable[[str], str],
    asked_model: str = "",
    **more: Any,
) -> Reply:
    """Return an answer as it is handed on, with the provider's words made safe.

    Args:
        usage: what `usage_of` found.
        asked_model: stands for a model that the reply does not name.
        more: further fields of the Reply.
    """
    model, error, ending = raw.get("model"), found.error, found.ending
    if ending not in GOOD_ENDINGS:
        ending = safe_words(ending, clean, _MOST_NAME)
    if usage is not None and usage.service_tier and usage.service_tier not in STANDARD_TIERS:
        usage = replace(usage, service_tier=safe_words(usage.service_tier, clean, _MOST_NAME))
    trouble = "" if error is None else provider_words(error).message
    return Reply(
        text=found.text,
        finish_reason=ending,
        is_whole=found.is_whole,
        trouble=safe_words(trouble, clean, _MOST_WORDS),
        usage=usage or _NO_USAGE,
        model=safe_words(model if isinstance(model, str) else "", clean, _MOST_NAME) or asked_model,
        raw=raw,
        **more,
    )


def is_worth_keeping(reply: Reply) -> bool:
    """Tell whether a list of answers takes this one: it is whole, or a text that was cut."""
    is_cut = reply.finish_reason.lower() in CUT_ENDINGS and bool(reply.text.strip())
    return reply.is_whole or (is_cut and error_in(reply.raw) is None)


def may_grow(reply: Reply, request: Request) -> bool:
    """Tell whether an answer was cut by a smaller limit than the one that a request sets."""
    limit, came = request.reply_limit_tokens, reply.usage.completion_tokens
    if limit is None or request.choices > 1 or not came:
        return False
    return reply.finish_reason.lower() in OUT_OF_ROOM and limit > came * _COUNTED_OTHERWISE


def why_unusable(reply: Reply) -> str:
    """Return in a word why a reply is not whole: how it ended, "error" or "empty"."""
    if not _is_good(reply.finish_reason):
        return reply.finish_reason
    return "empty" if error_in(reply.raw) is None else "error"


def error_in(raw: Mapping[str, Any]) -> Any:
    """Return what a reply says went wrong, of itself or of its first choice; None: nothing."""
    choices = raw.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    for place in (raw, first):
        error = place.get("error") if isinstance(place, dict) else None
        if error and not (isinstance(error, dict) and not any(error.values())):
            return place if error is True else error
    return raw if "error" in (raw.get("object"), raw.get("type")) else None


def _is_good(ending: str) -> bool:
    if not ending or ending.lower() in GOOD_ENDINGS:
        return True
    word = plain(ending)
    return any(word.removeprefix(before) in _PLAIN_ENDINGS for before in ("", *_BEFORE_ENDING))


def _ending_of(reason: Any) -> str:
    """Return how a choice ended; servers that tell more of it put that into an object."""
    if isinstance(reason, dict):
        reason = reason.get("type") or reason.get("reason")
    return reason if isinstance(reason, str) else str(reason or "")


def _read_choices(raw: Mapping[str, Any]) -> _Read | None:
    """Read the first choice of a chat, or of a completion of the older API."""
    choices = raw.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return None
    choice = choices[0]
    message = choice.get("message") or choice.get("delta")
    if not isinstance(message, dict):
        message = {"content": message or choice.get("text")}
    ending = _ending_of(choice.get("finish_reason"))
    content, audio = message.get("content"), message.get("audio")
    text = _text_of(content)
    if not text and isinstance(audio, dict):
        text = _text_of(audio.get("transcript"))
    refusal = _text_of(message.get("refusal")) or _joined(content, "refusal")
    if refusal and not text:
        return _Read(refusal, "refusal", is_there=True)
    is_there = bool(text.strip()) or any(message.get(name) for name in _BESIDE_TEXT)
    return _Read(text, ending, is_there)


def _text_of(content: Any) -> str:
    """Return the text of a content: a text, an object, or parts of which thoughts are left out."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(map(_part_text, content))
    if not isinstance(content, dict) or not content:
        return ""
    if isinstance(content.get("parts"), list):
        return _text_of(content["parts"])
    if {"type", "text"} & content.keys():
        return _part_text(content)
    with suppress(RecursionError):  # what could just be read may be too deep to be written
        return json.dumps(content, ensure_ascii=False)  # JSON that the server has parsed already
    return ""


def _part_text(part: Any) -> str:
    if isinstance(part, str):
        return part
    is_text = isinstance(part, dict) and str(part.get("type", "text")) in _TEXT_PARTS
    text = part.get("text") if is_text and not part.get("thought") else None
    text = text.get("value") if isinstance(text, dict) else text
    return text if isinstance(text, str) else ""


def _joined(parts: Any, kind: str) -> str:
    """Return the texts of the parts of one kind, which are named like it."""
    listed = parts if isinstance(parts, list) else []
    found = (p.get(kind) for p in listed if isinstance(p, dict) and p.get("type") == kind)
    return "".join(text for text in found if isinstance(text, str))


def _read_embeddings(raw: Mapping[str, Any]) -> _Read | None:
    return _Read("", "stop", is_there=True) if _has_list(raw, "data") else None


def _read_moderations(raw: Mapping[str, Any]) -> _Read | None:
    return _Read("", "stop", is_there=True) if _has_list(raw, "results") else None


def _has_list(raw: Mapping[str, Any], name: str) -> bool:
    return isinstance(raw.get(name), list) and bool(raw[name])


def _read_responses(raw: Mapping[str, Any]) -> _Read | None:
    output, status = raw.get("output"), raw.get("status")
    if not isinstance(output, list):
        return None
    items = [item for item in output if isinstance(item, dict)]
    contents = [item.get("content") for item in items if item.get("type") == "message"]
    text = "".join(map(_text_of, contents))
    refusal = "".join(_joined(content, "refusal") for content in contents)
    if refusal and not text:
        return _Read(refusal, "refusal", is_there=True)
    has_calls = any(str(item.get("type")).endswith("_call") for item in items)
    is_there = bool(text.strip()) or has_calls
    if status in ("failed", "cancelled") and not is_there:
        return None
    return _Read(text, _response_ending(status, raw.get("incomplete_details")), is_there)


def _response_ending(status: Any, details: Any) -> str:
    if status in ("completed", None):
        return "stop"
    reason = details.get("reason") if isinstance(details, dict) else None
    if reason == "max_output_tokens":
        return "length"
    return str(reason or status)


def _read_anything(raw: Mapping[str, Any]) -> _Read | None:
    value = raw.get("generated")
    return _Read(value if isinstance(value, str) else "", _GENERATED, is_there=True)


_READERS = {
    "/chat/completions": _read_choices,
    "/completions": _read_choices,
    "/embeddings": _read_embeddings,
    "/moderations": _read_moderations,
    "/responses": _read_responses,
}
#: The field that makes an object the reply of a path, and where gateways put such an object.
_FIELDS = {
    "/chat/completions": "choices",
    "/completions": "choices",
    "/embeddings": "data",
    "/moderations": "results",
    "/responses": "output",
}
_WRAPPERS = ("data", "result", "response", "body", "output")
#: The APIs whose replies are read by rules of their own; a longer path comes first.
KNOWN_PATHS = tuple(sorted(_READERS, key=len, reverse=True))
