"""Write and read the lines of batch files. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ...calls.responses import parse_object
from ...core.records import Lease
from ...transport.target import is_azure


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultLine:
    """What came of one request line; from an output file or an error file."""

    custom_id: str
    #: HTTP status of the reply; None: the line was not asked.
    status: int | None
    #: The reply's JSON; empty when there is none.
    body: bytes
    #: The provider's error code; "" when it gave none.
    code: str = ""
    #: For people; may hold what the provider repeats of the request.
    message: str = ""
    request_id: str = ""


def request_line(custom_id: str, url: str, body: bytes) -> bytes:
    """Return one line of an input file, line feed included.

    Args:
        url: as `line_url` gives it.
        body: canonical JSON; it becomes part of the line as it is.
    """
    head = f'{{"custom_id":{json.dumps(custom_id)},"method":"POST","url":{json.dumps(url)},"body":'
    return head.encode() + body + b"}\n"


def line_url(lease: Lease, path: str) -> str:
    """Return the URL that lines for an API path carry; OpenAI's have the version in front."""
    return path if is_azure(lease) else f"/v1{path}"


def read_result(line: bytes) -> ResultLine | None:
    """Return what a line of an output or error file says; None: it is no such line."""
    raw = parse_object(line)
    if raw is None or not isinstance(raw.get("custom_id"), str):
        return None
    response = raw.get("response")
    response = response if isinstance(response, dict) else {}
    body, status = response.get("body"), response.get("status_code")
    code, message = _error_words(raw) or _error_words(body) or ("", "")
    return ResultLine(
        custom_id=raw["custom_id"],
        status=status if isinstance(status, int) else None,
        body=b"" if body is None else json.dumps(body, separators=(",", ":")).encode(),
        code=code,
        message=message,
        request_id=str(response.get("request_id") or ""),
    )


def _error_words(raw: Any) -> tuple[str, str] | None:
    error = raw.get("error") if isinstance(raw, dict) else None
    if not isinstance(error, dict):
        return None
    code, kind, message = (error.get(name) for name in ("code", "type", "message"))
    told = str(code or kind or ""), str(message or "")
    return told if any(told) else None
