"""What the Batch API says of its files and batches: frozen data, read tolerantly.

Source: https://platform.openai.com/docs/api-reference/batch and
https://learn.microsoft.com/azure/ai-services/openai/how-to/batch (read 2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_OVER = frozenset({"completed", "failed", "expired", "cancelled"})
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


def file_from(raw: Mapping[str, Any]) -> RemoteFile | None:
    """Return the file that a reply describes; None: it describes none."""
    if not _text(raw, "id"):
        return None
    return RemoteFile(
        id=_text(raw, "id"),
        name=_text(raw, "filename"),
        size_bytes=_count(raw, "bytes"),
        status=_text(raw, "status"),
        created_wall_s=float(_count(raw, "created_at")),
    )


def batch_from(raw: Mapping[str, Any]) -> RemoteBatch | None:
    """Return the batch that a reply describes; None: it describes none."""
    if not (_text(raw, "id") and _text(raw, "status")):
        return None
    counts, metadata, errors = (_object(raw, n) for n in ("request_counts", "metadata", "errors"))
    ends = [end for end in (_count(raw, name) for name in _ENDS) if end]
    return RemoteBatch(
        id=_text(raw, "id"),
        status=_text(raw, "status"),
        endpoint=_text(raw, "endpoint"),
        input_file_id=_text(raw, "input_file_id"),
        output_file_id=_text(raw, "output_file_id") or None,
        error_file_id=_text(raw, "error_file_id") or None,
        total=_count(counts, "total"),
        completed=_count(counts, "completed"),
        failed=_count(counts, "failed"),
        metadata={name: value for name, value in metadata.items() if isinstance(value, str)},
        created_wall_s=float(_count(raw, "created_at")),
        ended_wall_s=float(ends[0]) if ends else None,
        errors=tuple(_issue(one) for one in _objects(errors.get("data"))),
    )


def _issue(raw: Mapping[str, Any]) -> BatchIssue:
    return BatchIssue(
        code=_text(raw, "code"),
        message=_text(raw, "message"),
        line=_count(raw, "line") or None,
        param=_text(raw, "param"),
    )


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    return value if isinstance(value, str) else ""


def _count(raw: Mapping[str, Any], name: str) -> int:
    value = raw.get(name)
    return int(value) if isinstance(value, int | float) else 0


def _object(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = raw.get(name)
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
