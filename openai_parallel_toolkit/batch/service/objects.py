"""Files, batches and their lines as the Batch API has them: frozen data, read tolerantly. Pure.

Source: https://platform.openai.com/docs/api-reference/batch and
https://learn.microsoft.com/azure/ai-services/openai/how-to/batch (read 2026-11).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...calls.refusals import Clean
from ...calls.responses import parse_object
from ...core.records import Lease
from ...core.redaction import safe_words
from ...transport.target import is_azure

_OVER = frozenset({"completed", "failed", "expired", "cancelled"})
_LONGEST_ID = 500
_ENDS = ("completed_at", "failed_at", "expired_at", "cancelled_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file that the provider keeps."""

    id: str
    name: str
    size_bytes: int
    #: As the provider says; an import into Azure is "pending", "running", "processed" or "error".
    status: str
    #: Seconds since 1970.
    created_wall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchIssue:
    """Why a whole batch failed."""

    code: str
    message: str
    #: Line of the input file, from 1; None: it is about the whole.
    line: int | None = None
    #: The field it is about; "" when not said.
    param: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteBatch:
    """A batch, as it stood when it was asked about."""

    id: str
    #: "validating", "in_progress", "finalizing", "cancelling" or one of those that end it.
    status: str
    #: URL of its lines, such as "/v1/chat/completions".
    endpoint: str
    input_file_id: str
    #: None: no line was answered, or it is not over.
    output_file_id: str | None
    #: None: no line failed, or it is not over.
    error_file_id: str | None
    #: Lines: all, answered, failed.
    total: int
    completed: int
    failed: int
    metadata: Mapping[str, str]
    #: Seconds since 1970.
    created_wall_s: float
    #: Seconds since 1970; None: it is not over.
    ended_wall_s: float | None
    errors: tuple[BatchIssue, ...]

    @property
    def is_over(self) -> bool:
        """Whether nothing of it will change any more."""
        return self.status in _OVER

    @property
    def is_whole(self) -> bool:
        """Whether it names the files in which its counts promise results."""
        if self.status == "completed" and not (self.output_file_id or self.error_file_id):
            return False
        is_missing = self.completed and not self.output_file_id
        return not (is_missing or (self.failed and not self.error_file_id))


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


def file_from(raw: Mapping[str, Any], clean: Clean) -> RemoteFile | None:
    """Return the file that a reply describes; None: it describes none."""
    if not _id(raw, "id", clean):
        return None
    return RemoteFile(
        id=_id(raw, "id", clean),
        name=_text(raw, "filename"),
        size_bytes=_count(raw, "bytes"),
        status=_text(raw, "status"),
        created_wall_s=float(_count(raw, "created_at")),
    )


def batch_from(raw: Mapping[str, Any], clean: Clean) -> RemoteBatch | None:
    """Return the batch that a reply describes; None: it describes none.

    An id of a file that cannot be one, by `_id`, counts as not told.
    """
    if not (_id(raw, "id", clean) and _text(raw, "status")):
        return None
    counts, metadata, errors = (_object(raw, n) for n in ("request_counts", "metadata", "errors"))
    issues = errors.get("data")
    ends = [end for end in (_count(raw, name) for name in _ENDS) if end]
    return RemoteBatch(
        id=_id(raw, "id", clean),
        status=_text(raw, "status"),
        endpoint=_text(raw, "endpoint"),
        input_file_id=_id(raw, "input_file_id", clean),
        output_file_id=_id(raw, "output_file_id", clean) or None,
        error_file_id=_id(raw, "error_file_id", clean) or None,
        total=_count(counts, "total"),
        completed=_count(counts, "completed"),
        failed=_count(counts, "failed"),
        metadata={name: value for name, value in metadata.items() if isinstance(value, str)},
        created_wall_s=float(_count(raw, "created_at")),
        ended_wall_s=float(ends[0]) if ends else None,
        errors=tuple(
            BatchIssue(
                code=_text(one, "code"),
                message=_text(one, "message"),
                line=_count(one, "line") or None,
                param=_text(one, "param"),
            )
            for one in (issues if isinstance(issues, list) else ())
            if isinstance(one, dict)
        ),
    )


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
    response = _object(raw, "response")
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
    error = _object(raw, "error") if isinstance(raw, dict) else {}
    code, kind, message = (error.get(name) for name in ("code", "type", "message"))
    told = str(code or kind or ""), str(message or "")
    return told if any(told) else None


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    return value if isinstance(value, str) else ""


def _id(raw: Mapping[str, Any], name: str, clean: Clean) -> str:
    """Return an id, which is kept and shown; "": none, or one that holds a secret or is no word."""
    text = _text(raw, name)
    return text if text.isprintable() and safe_words(text, clean, _LONGEST_ID) == text else ""


def _count(raw: Mapping[str, Any], name: str) -> int:
    value = raw.get(name)
    return int(value) if isinstance(value, int | float) else 0


def _object(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = raw.get(name)
    return value if isinstance(value, dict) else {}
