"""Say what a reply gives to who asked: its text, the vectors in it, or the JSON it must be."""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from ..core.errors import IncompleteAnswer, InvalidAnswer, UsageError
from ..core.records import Reply
from ..core.text import counted
from .strict_schema import strict_schema

_CUT_SHORT = frozenset({"length", "content_filter", "incomplete", "refusal"})
#: Not taken by the API in the name of a schema.
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
#: Mistakes of an answer that its error tells.
_MOST_TOLD = 3


def whole_text(reply: Reply, *, allow_incomplete: bool) -> str:
    """Return a reply's text, stripped; one that is cut short or empty raises IncompleteAnswer."""
    text = reply.text.strip()
    is_whole = reply.finish_reason not in _CUT_SHORT and (text or _calls_tools(reply.raw))
    if not (is_whole or allow_incomplete):
        raise _incomplete(reply)
    return text


def vectors(reply: Reply, count: int) -> list[Any]:
    """Return the vectors of an embeddings reply in the order of the inputs."""
    rows = sorted((row for row in reply.raw["data"] if _is_vector(row)), key=_index)
    if [_index(row) for row in rows] != list(range(count)):
        raise InvalidAnswer(f"the answer holds {len(rows)} usable vectors, not {count}; ask again")
    return [row["embedding"] for row in rows]


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
        text = whole_text(reply, allow_incomplete=False)
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


def _incomplete(reply: Reply) -> IncompleteAnswer:
    message = "the model refused to answer; its words are in .text"
    if reply.finish_reason != "refusal":
        cause = reply.finish_reason if reply.finish_reason in _CUT_SHORT else "empty"
        message = (
            f"the answer was cut short ({cause}) after "
            f"{counted(reply.usage.completion_tokens, 'token')}; "
            "raise its length limit, or pass allow_incomplete=True"
        )
    return IncompleteAnswer(message, text=reply.text, finish_reason=reply.finish_reason)


def _calls_tools(raw: Mapping[str, Any]) -> bool:
    if isinstance(raw.get("output"), list):
        kinds = (item.get("type") for item in raw["output"] if isinstance(item, dict))
        return any(str(kind).endswith("_call") for kind in kinds)
    choices = raw.get("choices") or [{}]
    message = choices[0].get("message") or {}
    return bool(message.get("tool_calls") or message.get("function_call"))


def _is_vector(row: object) -> bool:
    return (
        isinstance(row, dict) and isinstance(row.get("index"), int) and bool(row.get("embedding"))
    )


def _index(row: Mapping[str, Any]) -> int:
    return int(row["index"])


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _reason(error: Exception) -> str:
    """Say what is wrong with an answer without quoting it."""
    mistakes = getattr(error, "errors", None)
    if mistakes is None:  # of the json module
        return f"not JSON ({error})" if isinstance(error, ValueError) else "nested too deeply"
    told = mistakes(include_input=False, include_url=False, include_context=False)[:_MOST_TOLD]
    return "; ".join(f"{'.'.join(map(str, m['loc'])) or 'all'}: {m['msg']}" for m in told)
