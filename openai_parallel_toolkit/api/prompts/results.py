"""What a line came to, and how that looks in the output and in the file of failures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from ...calls.responses import is_worth_keeping
from ...calls.structured import embedding, incomplete
from ...core.errors import InvalidAnswer, RequestFailed, ToolkitError
from ...core.records import Reply
from ...core.redaction import safe_words
from ...runs.results import FailuresFile, json_line
from .lines import PromptLine
from .parameters import EMBEDDINGS

#: Items of a response that call the user's own tools.
_CALLS = ("function_call", "custom_tool_call")

#: What a line came to: its answer, or what the file of failures tells of it.
LineResult = Reply | Mapping[str, Any]


class FailedLines(FailuresFile):
    """The failed lines of a run; they stay on the disk alone."""

    def add_line(self, line: PromptLine, error: ToolkitError, clean: Callable[[str], str]) -> int:
        """Append why a line failed and return where it stands; `clean` takes secrets out."""
        failed = error if isinstance(error, RequestFailed) else RequestFailed()
        kind, message = type(error).__name__, safe_words(error.message, clean, 2_000)
        told = {
            "line": line.number,
            **line.ids,
            "kind": kind,
            "message": message,
            "code": failed.code,
            "status": failed.status,
            "maybe_billed": failed.maybe_billed,
        }
        return self.add(kind, message, told)


def mistake_in(line: PromptLine, reply: Reply) -> RequestFailed | None:
    """Return why a reply cannot stand in a line's place; None: it can."""
    if not is_worth_keeping(reply):
        return incomplete(reply)
    if line.request is not None and line.request.path == EMBEDDINGS:
        try:
            embedding(reply, line.body["input"])
        except InvalidAnswer as exc:
            return exc
    return None


def _flat(line: PromptLine, result: LineResult) -> dict[str, Any]:
    told = {"line": line.number, **line.ids}
    if not isinstance(result, Reply):
        return {**told, "error": {"kind": result["kind"], "message": result["message"]}}
    if line.request is not None and line.request.path == EMBEDDINGS:
        told["embedding"] = embedding(result, line.body["input"])
    else:
        told.update(content=result.text.strip(), finish_reason=result.finish_reason)
    calls = _tool_calls(result.raw)
    if calls:
        told["tool_calls"] = calls
    return {**told, "model": result.model, "usage": asdict(result.usage)}


def _tool_calls(raw: Mapping[str, Any]) -> Any:
    """Return the calls that the model asks the user for, as the API has them."""
    if isinstance(raw.get("output"), list):
        items = (item for item in raw["output"] if isinstance(item, dict))
        return [item for item in items if item.get("type") in _CALLS]
    choices = raw.get("choices")
    message = choices[0].get("message") if choices else None
    if not isinstance(message, dict):
        return None
    older = message.get("function_call")
    return message.get("tool_calls") or (older and [{"type": "function", "function": older}])


def _cookbook(line: PromptLine, result: LineResult) -> list[Any]:
    told: Any = (
        result.raw if isinstance(result, Reply) else [f"{result['kind']}: {result['message']}"]
    )
    more = [line.ids["metadata"]] if "metadata" in line.ids else []
    return [line.body, told, *more]


def _batch(line: PromptLine, result: LineResult) -> dict[str, Any]:
    known = (str(line.ids[name]) for name in ("custom_id", "id", "index") if name in line.ids)
    response = error = None
    if isinstance(result, Reply):
        response = {"status_code": 200, "request_id": "", "body": result.raw}
    else:
        error = {"code": result["code"] or result["kind"], "message": result["message"]}
    return {
        "id": f"line_{line.number}",
        "custom_id": next(known, f"line-{line.number}"),
        "response": response,
        "error": error,
    }


_FORMATS: dict[str, Callable[[PromptLine, LineResult], Any]] = {
    "flat": _flat,
    "cookbook": _cookbook,
    "batch": _batch,
}
FORMATS = tuple(_FORMATS)


def is_answer_to(format: str, line: PromptLine, told: Any) -> bool:
    """Whether a line of an output, read back, is the answer to a line of the input."""
    if format == "cookbook":
        return isinstance(told, list) and told[:1] == [line.body] and isinstance(told[1], dict)
    name, value = ("line", line.number) if format == "flat" else ("id", f"line_{line.number}")
    return isinstance(told, dict) and told.get(name) == value and told.get("error") is None


def output_line(format: str, line: PromptLine, result: LineResult) -> bytes:
    """Return the line of the output for a line of the input."""
    return json_line(_FORMATS[format](line, result))
