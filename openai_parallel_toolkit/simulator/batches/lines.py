"""The JSONL of batches: read the lines that ask, write those that answer."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from ..http_messages import json_bytes
from .batch import BatchError

_DECODER = json.JSONDecoder()
_MARK = re.compile(r"[ \t\r\n]*([{:,}])[ \t\r\n]*")


class BadLine(Exception):
    """Control flow: a line for which the whole batch fails."""

    def __init__(self, code: str, message: str, line: int, param: str | None = None) -> None:
        super().__init__(code)
        self.error = BatchError(code=code, message=message, line=line, param=param)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLine:
    """A request in a batch."""

    number: int
    custom_id: str
    model: str
    #: The text of the body as it stands in the line.
    body: bytes
    #: Its SHA-256, as that of a POST of this body.
    digest: bytes


class LineReader:
    """Reads the lines of one batch, each in the light of those before it."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = plain_url(endpoint)
        self._custom_ids: set[str] = set()
        self._model = ""

    def read(self, text: bytes, number: int) -> BatchLine:
        """Return the request in the `number`-th line, counted from 1, or raise BadLine."""
        try:
            members = _members(text.decode("utf-8"))
        except (ValueError, RecursionError) as exc:
            message = "This line is not parseable as valid JSON."
            raise BadLine("invalid_json_line", message, number) from exc
        custom_id = self._custom_id(members, number)
        if members.get("method", ("POST", ""))[0] != "POST":
            raise BadLine("invalid_method", "The method must be POST.", number, "method")
        url = members.get("url", (None, ""))[0]
        if not isinstance(url, str) or plain_url(url) != self._endpoint:
            message = "The URL provided for this request does not match the batch's endpoint."
            raise BadLine("invalid_url", message, number, "url")
        body, body_text = members.get("body", (None, ""))
        if not isinstance(body, dict):
            raise _lacking("body", number)
        model = body.get("model")
        if not isinstance(model, str) or not model:
            raise _lacking("body.model", number)
        self._model = self._model or model
        if model != self._model:
            message = (
                f"The model provided `{model}` does not match previous requests in this batch "
                f"({self._model}). All requests of a batch must use the same model."
            )
            raise BadLine("mismatched_model", message, number, "body.model")
        raw_body = body_text.encode()
        return BatchLine(
            number=number,
            custom_id=custom_id,
            model=model,
            body=raw_body,
            digest=hashlib.sha256(raw_body).digest(),
        )

    def _custom_id(self, members: dict[str, tuple[Any, str]], number: int) -> str:
        custom_id = members.get("custom_id", (None, ""))[0]
        if not isinstance(custom_id, str) or not custom_id:
            raise _lacking("custom_id", number)
        if custom_id in self._custom_ids:
            message = (
                "The custom_id for this request is a duplicate of another request. The "
                "custom_id parameter must be unique for each request in a batch."
            )
            raise BadLine("duplicate_custom_id", message, number, "custom_id")
        self._custom_ids.add(custom_id)
        return custom_id


def plain_url(url: str) -> str:
    """Return an endpoint without OpenAI's "/v1", as Azure writes it."""
    return url.removeprefix("/v1")


def answer_line(
    batch_id: str, custom_id: str, *, status: int, request_id: str, body: bytes
) -> bytes:
    """Return the line of the output or error file that holds a reply."""
    return (
        b'{"id":%b,"custom_id":%b,"response":{"status_code":%d,"request_id":%b,"body":%b},'
        b'"error":null}\n'
    ) % (
        json_bytes(_line_id(batch_id, custom_id)),
        json_bytes(custom_id),
        status,
        json_bytes(request_id),
        body,
    )


def unanswered_line(batch_id: str, custom_id: str, *, code: str, message: str) -> bytes:
    """Return the line of the error file for a request that was not served."""
    line = {
        "id": _line_id(batch_id, custom_id),
        "custom_id": custom_id,
        "response": None,
        "error": {"code": code, "message": message},
    }
    return json_bytes(line) + b"\n"


def line_number(batch_id: str, custom_id: str) -> str:
    """Return 32 digits of hex that are the line's own."""
    mixed = f"{batch_id} {custom_id}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(mixed).hexdigest()[:32]


def _line_id(batch_id: str, custom_id: str) -> str:
    return f"batch_req_{line_number(batch_id, custom_id)}"


def _lacking(param: str, number: int) -> BadLine:
    message = f"Missing required parameter: '{param}'."
    return BadLine("missing_required_parameter", message, number, param)


def _members(text: str) -> dict[str, tuple[Any, str]]:
    """Return the members of a JSON object, each as its value and its own text."""
    members: dict[str, tuple[Any, str]] = {}
    mark, position = _mark("{", text, 0)
    if text.startswith("}", position):
        mark, position = _mark("}", text, position)
    while mark != "}":
        name, position = _DECODER.raw_decode(text, position)
        if not isinstance(name, str):
            raise ValueError("a member's name is no text")  # noqa: TRY004 - as any other bad JSON
        _, start = _mark(":", text, position)
        value, position = _DECODER.raw_decode(text, start)
        members[name] = value, text[start:position]
        mark, position = _mark(",}", text, position)
    if position != len(text):
        raise ValueError("something follows the object")
    return members


def _mark(wanted: str, text: str, position: int) -> tuple[str, int]:
    """Return the mark that comes next and where the space after it ends, or raise ValueError."""
    match = _MARK.match(text, position)
    if match is None or match[1] not in wanted:
        raise ValueError(f"{wanted} is missing")
    return match[1], match.end()
