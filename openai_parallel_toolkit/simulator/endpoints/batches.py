"""/batches: create, list, look at and cancel."""

from __future__ import annotations

from typing import Any

from ..batches.batch import Batch
from ..batches.cabinet import FileCabinet, StoredFile
from ..batches.clerk import LineClerk
from ..batches.office import BatchOffice
from ..errands import Errand
from ..http1 import Reply, json_reply
from ..refusals import Refused, error_reply, invalid, missing
from .pages import lifetime_s, page_reply

_USUAL_ON_PAGE, _MOST_ON_PAGE = 20, 100
_MOST_METADATA = 16
#: Statuses whose time is shown, in the order of a batch's life.
_TIMED = (
    "in_progress",
    "finalizing",
    "completed",
    "failed",
    "expired",
    "cancelling",
    "cancelled",
)


class BatchDesk:
    """Serves `/batches`. Touched by the event loop's thread alone."""

    def __init__(self, *, office: BatchOffice, clerk: LineClerk, cabinet: FileCabinet) -> None:
        self._office = office
        self._clerk = clerk
        self._cabinet = cabinet

    def create(self, errand: Errand) -> Reply:
        """Create a batch; whether its file is in order is found out later."""
        errand.account.admit(is_azure=errand.is_azure)
        fields = errand.fields()
        for name in ("input_file_id", "endpoint", "completion_window"):
            if not isinstance(fields.get(name), str):
                raise missing(name)
        endpoint = fields["endpoint"]
        if not self._clerk.serves(endpoint) or not (errand.is_azure or endpoint.startswith("/v1/")):
            raise _not_valid("endpoint")
        if fields["completion_window"] != "24h":
            raise _not_valid("completion_window")
        batch = self._office.create(
            errand.account,
            self._input_file(errand, fields["input_file_id"]),
            endpoint=endpoint,
            metadata=_metadata(fields.get("metadata")),
            output_lifetime_s=lifetime_s(
                fields.get("output_expires_after"), "output_expires_after"
            ),
            is_azure=errand.is_azure,
        )
        return json_reply(200, _shown(batch))

    def list(self, errand: Errand) -> Reply:
        """List the key's batches, newest first."""
        batches = self._office.listed(errand.account.key.name)[::-1]
        return page_reply(
            batches, errand.request.query, _shown, usual=_USUAL_ON_PAGE, most=_MOST_ON_PAGE
        )

    def retrieve(self, errand: Errand) -> Reply:
        """Show a batch."""
        return json_reply(200, _shown(self._found(errand)))

    def cancel(self, errand: Errand) -> Reply:
        """Cancel a batch that is not over."""
        batch = self._found(errand)
        if batch.is_over:
            message = f"Cannot cancel a batch with status '{batch.status}'."
            raise Refused(error_reply(409, message))
        self._office.cancel(batch)
        return json_reply(200, _shown(batch))

    def _found(self, errand: Errand) -> Batch:
        batch_id = errand.names["batch_id"]
        batch = self._office.find(batch_id, errand.account.key.name)
        if batch is None:
            raise Refused(error_reply(404, f"No batch found with id '{batch_id}'."))
        return batch

    def _input_file(self, errand: Errand, file_id: str) -> StoredFile:
        file = self._cabinet.find(file_id, errand.account.key.name)
        if file is None or file.purpose != "batch" or file.status != "processed":
            raise _not_valid("input_file_id")
        return file


def _metadata(metadata: Any) -> dict[str, str]:
    if metadata is None:
        return {}
    is_right = (
        isinstance(metadata, dict)
        and len(metadata) <= _MOST_METADATA
        and all(isinstance(value, str) for value in metadata.values())
        and all(len(name) <= 64 and len(value) <= 512 for name, value in metadata.items())
    )
    if not is_right:
        raise _not_valid("metadata")
    return dict(metadata)


def _not_valid(param: str) -> Refused:
    return invalid(f"Invalid value for '{param}'.", param=param, code="invalid_value")


def _shown(batch: Batch) -> dict[str, Any]:
    times = {f"{status}_at": _second(batch.times_s.get(status)) for status in _TIMED}
    issues = [
        {"code": issue.code, "message": issue.message, "line": issue.line, "param": issue.param}
        for issue in batch.issues
    ]
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": batch.model or None,
        "errors": {"object": "list", "data": issues} if batch.issues else None,
        "input_file_id": batch.input_file.id,
        "completion_window": "24h",
        "status": batch.status,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "created_at": int(batch.created_s),
        "expires_at": int(batch.expires_s),
        **times,
        "request_counts": {
            "total": batch.total,
            "completed": batch.completed,
            "failed": batch.failed,
        },
        "usage": _usage(batch),
        "metadata": batch.metadata or None,
    }


def _second(time_s: float | None) -> int | None:
    return None if time_s is None else int(time_s)


def _usage(batch: Batch) -> dict[str, Any]:
    return {
        "input_tokens": batch.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": batch.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": batch.prompt_tokens + batch.completion_tokens,
    }
