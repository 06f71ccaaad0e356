"""Read a reply that came as a stream although none was asked for. Pure.

Some gateways take a missing `stream` for true, or end a whole object with `data: [DONE]`. Read are
server-sent events, and JSON objects one after the other: chunks, or whole replies. Source:
https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream and
https://platform.openai.com/docs/api-reference/chat-streaming (read 2026-11).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_LINE_END = re.compile(r"\r\n|\r|\n")
#: Lines without a part of the reply: comments, fields beside `data`, words to keep a line open.
_NO_DATA = re.compile(r":|(?:event|id|retry)(?::|$)|data: *(?:[A-Za-z][\w .-]{0,80})?$")
_DATA = re.compile(r"data: ?")
#: How a stream begins: with a field, a comment or an object.
_BEGINNING = re.compile(rb"(?:\xef\xbb\xbf)?[\s,]*(?:data|event|id|retry|:|\{)")
_MOST_BEFORE = 65_536
#: A longer stream has lines of at least so many characters on average, and values of twice as many.
_FREE_LINES, _LEAST_LINE = 60_000, 64
#: Values that are no objects.
_MOST_OTHERS = 1_000
_BETWEEN = re.compile(r"[\s,]*")
_DECODER = json.JSONDecoder(strict=False)
_DONE = "[DONE]"
_CHUNK = ".chunk"
#: What is added up over the chunks of a choice; of other fields the last word counts.
_GROWING = frozenset({"delta", "text", "logprobs"})
#: Fields of a delta that come whole, from some servers again and again.
_WHOLE = frozenset({"id", "index", "name", "role", "type"})
#: Events of the Responses API that end it; all but an error hold the whole response.
_ENDS = frozenset({"response.completed", "response.failed", "response.incomplete", "error"})


def read_event_stream(body: bytes) -> dict[str, Any] | None:
    """Return the whole reply that a stream came to; None: it is no stream, or was cut."""
    most_lines = _FREE_LINES + len(body) // _LEAST_LINE
    if not _BEGINNING.match(body[:_MOST_BEFORE]) or body.count(b"\n") > most_lines:
        return None
    try:
        values = list(_values(body.decode("utf-8-sig", "replace")))
        events = [value for value in values if isinstance(value, dict)]
        if any(str(event.get("type")).startswith("response.") for event in events):
            return _last_response(events)
        return _put_together(events, values) if events else None
    except RecursionError:
        return None


def _values(text: str) -> Iterator[Any]:
    """Yield the JSON values of a stream, and `_DONE`; None where one cannot be read."""
    lines = (line for line in _LINE_END.split(text) if not _NO_DATA.match(line))
    data = "\n".join(_DATA.sub("", line, count=1) for line in lines)
    position = _next(data, 0)
    left, others = (_FREE_LINES + len(data) // _LEAST_LINE) // 2, _MOST_OTHERS
    while position < len(data):
        left -= 1
        if left < 0 or others < 0:
            yield None
            return
        if data.startswith(_DONE, position):
            value, position = _DONE, position + len(_DONE)
        else:
            try:
                value, position = _DECODER.raw_decode(data, position)
            except ValueError:
                yield None
                return
        yield value
        others -= not isinstance(value, dict)
        position = _next(data, position)


def _next(data: str, position: int) -> int:
    found = _BETWEEN.match(data, position)
    return found.end() if found else position


def _last_response(events: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return what the last event tells that tells an end; None: it was cut."""
    ends = (event for event in reversed(events) if str(event.get("type")) in _ENDS)
    last: dict[str, Any] = next(ends, {})
    found = last.get("response", last)
    return found if isinstance(found, dict) and found else None


def _put_together(events: list[dict[str, Any]], values: list[Any]) -> dict[str, Any] | None:
    whole: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for event in events:
        whole.update({name: value for name, value in event.items() if value or name not in whole})
        listed = event.get("choices")
        for position, choice in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(choice, dict):
                index = choice.get("index")
                index = index if isinstance(index, int) else position
                _add(choices.setdefault(index, {}), choice)
    is_ended = all("message" in one or one.get("finish_reason") for one in choices.values())
    is_whole = is_ended and (choices or None not in values)
    if not (is_whole or _DONE in values or whole.get("error")):
        return None
    if str(whole.get("object")).endswith(_CHUNK):
        whole["object"] = whole["object"].removesuffix(_CHUNK)
    if choices:
        whole["choices"] = [_as_whole(choices[index]) for index in sorted(choices)]
    return whole


def _add(so_far: dict[str, Any], choice: Mapping[str, Any]) -> None:
    for name, value in choice.items():
        if name in _GROWING:
            so_far[name] = _sum(so_far.get(name), value)
        elif value is not None or name not in so_far:
            so_far[name] = value


def _as_whole(choice: dict[str, Any]) -> dict[str, Any]:
    delta = choice.pop("delta", None)
    return choice if delta is None else {**choice, "message": delta}


def _sum(old: Any, new: Any) -> Any:
    """Return what two pieces of an answer, the later one second, are together."""
    if new is None or old is None:
        return old if new is None else new
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{name: _field(name, old.get(name), new[name]) for name in new}}
    if isinstance(old, str) and isinstance(new, str):
        return old + new
    if isinstance(old, list) or isinstance(new, list):
        return _list_sum(_parts(old), _parts(new))
    return new


def _field(name: str, old: Any, new: Any) -> Any:
    return (old or new) if name in _WHOLE else _sum(old, new)


def _parts(content: Any) -> list[Any]:
    """Return content as the list of its parts."""
    if isinstance(content, list):
        return content
    return [{"type": "text", "text": content}] if content else []


def _list_sum(old: list[Any], new: list[Any]) -> list[Any]:
    total = list(old)
    for item in new:
        known = range(len(total)) if isinstance(item, dict) and "index" in item else ()
        place = next((n for n in known if _are_one(total[n], item)), None)
        if place is None:
            total.append(item)
        else:
            total[place] = _sum(total[place], item)
    return total


def _are_one(old: Any, new: Mapping[str, Any]) -> bool:
    """Tell whether two items are pieces of one, such as a tool call."""
    if not isinstance(old, dict) or old.get("index") != new["index"]:
        return False
    return not (old.get("id") and new.get("id")) or old["id"] == new["id"]
