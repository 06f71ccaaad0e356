"""Make a request of one line, whichever of the common forms it has. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

from ...calls.models import make_request
from ...core.errors import UsageError
from ...core.records import Request
from .parameters import CHAT, EMBEDDINGS, PATHS, RESPONSES, sent_fields

#: Fields that stay with a line and come back with its answer; they are not sent.
IDS = ("custom_id", "id", "index", "metadata")
#: Fields of a line that say what is asked; and of one whose `body` says it.
_ASKS, _ENVELOPE = ("prompt", "instruction", "input", "system"), ("body", "url", "method")


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What holds for lines that do not say it themselves."""

    #: None: a line must name its model.
    model: str | None = None
    #: The system message of chats that have none; None: they stay without.
    system: str | None = None
    #: More fields of each request, such as temperature.
    parameters: Mapping[str, Any] = field(default_factory=dict)
    #: One of PATHS, for lines that do not tell; None: a chat.
    path: str | None = None
    #: The prompt of each row of a table, with columns in braces; None: its column `prompt`.
    template: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptLine:
    """One line of the input that is not blank."""

    #: Counts from 1, blank lines included.
    number: int
    #: Those of IDS that the line has.
    ids: Mapping[str, Any]
    #: What is sent, as far as the line could be read.
    body: Mapping[str, Any]
    #: None: there is a mistake.
    request: Request | None
    #: What keeps it from being sent; None: nothing.
    mistake: UsageError | None = None
    #: Names of the fields that are the user's own and stay at home.
    own: tuple[str, ...] = ()


def read_line(number: int, raw: bytes, defaults: Defaults) -> PromptLine | None:
    """Return what a line asks for; None: it is blank."""
    return _read(number, partial(_value, raw, is_first=number == 1), defaults)


def read_prompt(number: int, prompt: str, defaults: Defaults) -> PromptLine:
    """Return what a row asks for whose prompt is made already."""
    line = _read(number, lambda: {"prompt": prompt}, defaults)
    assert line is not None
    return line


def _read(
    number: int, value_of: Callable[[], dict[str, Any] | str | None], defaults: Defaults
) -> PromptLine | None:
    ids: dict[str, Any] = {}
    body: dict[str, Any] = {}
    try:
        value = value_of()
        if value is None:
            return None
        fields = value if isinstance(value, dict) else {}
        ids = {name: fields[name] for name in IDS if name in fields}
        path, body = _asked(value, defaults)
        request = make_request(path, _checked_model(body), body)
        used = (*IDS, "extra_body", *(_ENVELOPE if _is_batch(fields) else (*_ASKS, *body)))
        own = tuple(name for name in fields if name not in used)
        return PromptLine(number=number, ids=ids, body=body, request=request, own=own)
    except UsageError as exc:
        mistake = exc
    except RecursionError:
        mistake = UsageError("the line is nested too deeply; flatten it")
    return PromptLine(number=number, ids=ids, body=body, request=None, mistake=mistake)


def is_blank(number: int, raw: bytes) -> bool:
    """Tell whether `read_line` returns None."""
    first = raw.lstrip()[:1]
    if not first or b" " < first < b"\x7f":
        return not first
    try:
        return not _decoded(raw, is_first=number == 1)
    except UsageError:  # which `read_line` tells of
        return False


def _decoded(raw: bytes, *, is_first: bool) -> str:
    try:
        return raw.decode("utf-8-sig" if is_first else "utf-8").strip()
    except UnicodeDecodeError as exc:
        raise UsageError(f"the line is not UTF-8 (byte {exc.start}); convert the file") from exc


def _value(raw: bytes, *, is_first: bool) -> dict[str, Any] | str | None:
    """Return an object, or the text of a prompt; None: the line is blank."""
    text = _decoded(raw, is_first=is_first)
    if not text:
        return None
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as exc:
        if text.startswith("{"):
            raise UsageError(f"the line begins like JSON and is not: {exc}") from exc
        return text
    return value if isinstance(value, (dict, str)) else text


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _asked(value: dict[str, Any] | str, defaults: Defaults) -> tuple[str, dict[str, Any]]:
    """Return the API path and the body."""
    if isinstance(value, str):
        return _prompt({"prompt": value}, value, defaults)
    if _is_batch(value):
        return _of_batch(value, defaults)
    if "messages" in value:
        return _of_body(value, CHAT, defaults)
    if "instruction" in value:
        if "prompt" in value:
            raise UsageError("give either prompt or instruction")
        more = f"\n\n{_text(value, 'input')}" if value.get("input") else ""
        return _prompt(_without(value, "input"), f"{_text(value, 'instruction')}{more}", defaults)
    if "prompt" in value:
        return _prompt(value, _text(value, "prompt"), defaults)
    if "input" in value:
        if defaults.path not in {RESPONSES, EMBEDDINGS}:
            raise UsageError(
                "input alone may ask for an embedding or a response; say which with --request-url "
                "https://api.openai.com/v1/embeddings (or .../responses)"
            )
        return _of_body(value, defaults.path, defaults)
    raise UsageError(
        "the line holds no request; give messages, prompt, instruction (and input), input, or "
        "custom_id with body"
    )


def _is_batch(value: Mapping[str, Any]) -> bool:
    return isinstance(value.get("body"), dict)


def _of_batch(value: dict[str, Any], defaults: Defaults) -> tuple[str, dict[str, Any]]:
    url, method = value.get("url"), value.get("method", "POST")
    if method != "POST":
        raise UsageError(f"method: expected POST, got {method!r}")
    path = str(url).removeprefix("/v1")
    if url is None:
        path, body = _asked(value["body"], defaults)
    elif path in PATHS:
        body = _filled(value["body"], path, defaults)
    else:
        raise UsageError(f"url: expected one of {', '.join(PATHS)}, got {url!r}")
    beside = sent_fields(_without(value, *IDS, *_ENVELOPE), path)
    if beside:
        raise UsageError(f"{', '.join(beside)}: put it into body; beside it, it would not be sent")
    return path, body


def _of_body(value: dict[str, Any], path: str, defaults: Defaults) -> tuple[str, dict[str, Any]]:
    if defaults.path not in {None, path}:
        raise UsageError(f"the line is a request to {path}, and --request-url says {defaults.path}")
    return path, _filled(_without(value, *IDS), path, defaults)


def _without(value: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: part for name, part in value.items() if name not in names}


def _prompt(value: dict[str, Any], text: str, defaults: Defaults) -> tuple[str, dict[str, Any]]:
    path = defaults.path or CHAT
    others = _without(value, *IDS, "prompt", "instruction", "system")
    given, system = sent_fields(others, path), value.get("system")
    if path != CHAT and system:
        if path == EMBEDDINGS or "instructions" in given:
            raise UsageError("system: an embedding takes none, and a response instructions or it")
        given["instructions"] = system
    if path != CHAT:
        return path, _filled({**given, "input": text}, path, defaults)
    messages = [{"role": "user", "content": text}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    return path, _filled({**given, "messages": messages}, path, defaults)


def _text(value: dict[str, Any], name: str) -> str:
    text = value[name]
    if not isinstance(text, str) or not text.strip():
        raise UsageError(f"{name}: expected a text that is not empty")
    return text


def _filled(body: dict[str, Any], path: str, defaults: Defaults) -> dict[str, Any]:
    """Return a body with what it does not say itself."""
    model = {} if defaults.model is None else {"model": defaults.model}
    filled = {**model, **defaults.parameters, **body}
    more = filled.pop("extra_body", {})
    if not isinstance(more, Mapping):
        raise UsageError("extra_body: expected an object with the fields that are to be sent")
    filled.update(more)
    if defaults.system is not None and path == RESPONSES:
        filled.setdefault("instructions", defaults.system)
    if defaults.system is not None and path == CHAT:
        messages = _listed(filled.get("messages"))
        roles = [one.get("role") for one in messages if isinstance(one, dict)]
        if "system" not in roles and "developer" not in roles:
            filled["messages"] = [{"role": "system", "content": defaults.system}, *messages]
    if filled.get("stream"):
        raise UsageError("leave stream out: an answer is written when it is whole")
    return filled


def _listed(messages: Any) -> list[Any]:
    if not isinstance(messages, list) or not messages:
        raise UsageError("messages: expected a list that is not empty")
    return messages


def _checked_model(body: Mapping[str, Any]) -> str:
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise UsageError("the line names no model; name one there, or for all lines with --model")
    return model
