"""Say what a reply gives to who asked: its text, the vectors in it, or the JSON it must be."""

from __future__ import annotations

import base64
import functools
import inspect
import json
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from ..core.errors import IncompleteAnswer, InvalidAnswer, UsageError
from ..core.records import Reply
from ..core.text import counted
from .responses import CUT_ENDINGS, why_unusable
from .strict_schema import strict_schema

#: Not taken by the API in the name of a schema.
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
#: What some models say before their answer; the opening tag may be the server's.
_THOUGHTS = re.compile(r"\A.*</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"(?:```|~~~)[ \t]*\w*\s*")
_DECODER = json.JSONDecoder()
#: Mistakes of an answer that its error tells.
_MOST_TOLD = 3
_MOST_OF_REASON = 500
#: In a longer text no JSON is looked for.
_MOST_JSON_CHARS = 4_000_000


def whole_text(reply: Reply, *, allow_incomplete: bool) -> str:
    """Return a reply's text, stripped; one that is cut short or empty raises IncompleteAnswer."""
    text = reply.text.strip()
    is_whole = reply.is_whole and (text or _calls_tools(reply.raw))
    if not (is_whole or allow_incomplete):
        raise incomplete(reply)
    return text


def embedding(reply: Reply, given: str | Sequence[Any]) -> list[Any]:
    """Return the vector of a text, or the vectors of a list of texts in its order.

    Where the rows tell no order, they came in it. One list of token numbers is a text.
    """
    is_one = isinstance(given, str) or all(isinstance(part, int) for part in given)
    found = _vectors(reply, 1 if is_one else len(given))
    return found[0] if is_one else found


def _vectors(reply: Reply, count: int) -> list[Any]:
    rows = [row for row in reply.raw["data"] if isinstance(row, dict)]
    found = [_vector(row.get("embedding")) for row in rows]
    usable = [vector for vector in found if vector is not None]
    order = _order([row.get("index") for row in rows])
    if len(usable) != len(rows) or len(rows) != count or order is None:
        raise InvalidAnswer(
            f"the answer holds {len(usable)} usable vectors, not {count}; ask again"
        )
    return [usable[n] for n in order]


def _order(indexes: Sequence[Any]) -> list[int] | None:
    """Return the positions of rows in the order of their indexes; None: these contradict."""
    positions = list(range(len(indexes)))
    if all(index == indexes[0] for index in indexes):  # told of none, or the same of all
        return positions
    numbers = [index for index in indexes if isinstance(index, int)]
    if len(set(numbers)) != len(indexes):
        return None
    return sorted(positions, key=numbers.__getitem__)


def _vector(given: Any) -> list[Any] | None:
    """Return a vector, which may come as base64 of little-endian float32; None: it is none.

    Source: https://platform.openai.com/docs/api-reference/embeddings/create, encoding_format
    (read 2026-11), and what the openai package makes of it.
    """
    if isinstance(given, str):
        try:
            packed = base64.b64decode(given, validate=True)
            return list(struct.unpack(f"<{len(packed) // 4}f", packed)) or None
        except (ValueError, struct.error):
            return None
    return given if isinstance(given, list) and given and None not in given else None


class AnswerForm:
    """The JSON that an answer must be: anything, or what fits a type that pydantic knows."""

    def __init__(self, parameter: Mapping[str, Any], adapter: Any = None) -> None:
        #: The `response_format` of a chat completion.
        self.parameter = parameter
        self._adapter = adapter

    @property
    def text_parameter(self) -> dict[str, Any]:
        """The same as the Responses API wants it, in `text`."""
        flat = {name: value for name, value in self.parameter.items() if name != "json_schema"}
        return {"format": {**flat, **self.parameter.get("json_schema", {})}}

    def read(self, reply: Reply) -> Any:
        """Return what the reply's text describes; raises IncompleteAnswer or InvalidAnswer."""
        text = json_part(whole_text(reply, allow_incomplete=False))
        try:
            if self._adapter is not None:
                return self._adapter.validate_json(text)
            return json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as exc:
            reason = _reason(exc)
        raise InvalidAnswer(
            f"the answer is not what response_format asks for: {reason}; make the prompt clearer, "
            "or allow more max_validation_retries",
            text=reply.text,
            reason=reason,
        )


def json_part(text: str) -> str:
    """Return the JSON of an answer: without thoughts before it and a fence around it.

    What is JSON already is returned as it is, and so is what has fences around several.
    """
    if _is_json(text) or len(text) > _MOST_JSON_CHARS:
        return text
    said = _THOUGHTS.sub("", text, count=1).strip()
    found = list(_fenced(said))
    return found[0] if len(found) == 1 else said


def _fenced(text: str) -> Iterator[str]:
    """Yield the JSON objects and lists that stand at the beginning of a fence."""
    position = 0
    while fence := _FENCE.search(text, position):
        part = _json_at(text, fence.end())
        position = fence.end() + len(part)
        if part:
            yield part


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _json_at(text: str, start: int) -> str:
    """Return the JSON object or list that begins there; "": none does."""
    if text[start : start + 1] not in {"{", "["}:
        return ""
    try:
        _, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return ""
    return text[start:end]


def form_of(response_format: Any) -> AnswerForm | None:
    """Return the form that a pydantic class, or a dict as the API has it, asks for; None: text."""
    if isinstance(response_format, Mapping):
        return None if response_format.get("type") == "text" else AnswerForm(response_format)
    if inspect.isclass(response_format):
        kind: Any = response_format
        return _form_of_class(kind)
    raise UsageError("response_format is a pydantic class, or a dict with a type as the API has it")


@functools.lru_cache(maxsize=64)
def _form_of_class(kind: Any) -> AnswerForm:
    from pydantic import PydanticUserError, TypeAdapter
    from pydantic.errors import PydanticSchemaGenerationError

    try:
        adapter: Any = TypeAdapter(kind)
        schema = adapter.json_schema()
    except (PydanticUserError, PydanticSchemaGenerationError) as exc:
        raise UsageError(f"response_format={kind.__name__} has no JSON schema: {exc}") from exc
    name = _NOT_IN_NAMES.sub("_", kind.__name__)[:64]
    described = {"name": name, "schema": strict_schema(schema, kind.__name__), "strict": True}
    return AnswerForm({"type": "json_schema", "json_schema": described}, adapter)


def incomplete(reply: Reply) -> IncompleteAnswer:
    """Return what is told of an answer that is not whole."""
    cause, tokens = why_unusable(reply), counted(reply.usage.completion_tokens, "token")
    if cause == "refusal":
        message = "the model refused to answer; its words are in .text"
    elif cause.lower() in CUT_ENDINGS:
        message = (
            f"the answer was cut short ({cause}) after {tokens}; "
            "raise its length limit, or pass allow_incomplete=True"
        )
    else:
        words = f": {reply.trouble.rstrip('.')}" if reply.trouble else ""
        message = f"the answer is of no use ({cause}) after {tokens}{words}; a later run asks again"
    return IncompleteAnswer(message, text=reply.text, finish_reason=reply.finish_reason)


def _calls_tools(raw: Mapping[str, Any]) -> bool:
    if isinstance(raw.get("output"), list):
        kinds = (item.get("type") for item in raw["output"] if isinstance(item, dict))
        return any(str(kind).endswith("_call") for kind in kinds)
    choices = raw.get("choices") or [{}]
    message = choices[0].get("message") or {}
    return bool(message.get("tool_calls") or message.get("function_call"))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _reason(error: Exception) -> str:
    """Say what is wrong with an answer without quoting it."""
    mistakes = getattr(error, "errors", None)
    if mistakes is None:  # of the json module
        return f"not JSON ({error})" if isinstance(error, ValueError) else "nested too deeply"
    told = mistakes(include_input=False, include_url=False, include_context=False)[:_MOST_TOLD]
    words = "; ".join(f"{'.'.join(map(str, m['loc'])) or 'all'}: {m['msg']}" for m in told)
    return words[:_MOST_OF_REASON]
