"""/batches: create, list, look at and cancel."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..batches.batch import SimBatch
from ..batches.batch_service import SimBatchService
from ..batches.file_store import FileStore, StoredFile
from ..batches.lines import plain_url
from ..completion import RequestView, usage_fields
from ..http_messages import HttpReply, json_reply
from ..refusals import Refused, error_reply, invalid, missing
from . import PAID_ENDPOINTS
from .pages import lifetime_s, page_of

_USUAL_ON_PAGE, _MOST_ON_PAGE = 20, 100
_MOST_METADATA = 16
#: Statuses whose time is shown, in the order of a batch's life.
_TIMED = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")


class BatchEndpoints:
    """Serves `/batches`. Touched by the event loop's thread alone."""

    def __init__(self, batches: SimBatchService, files: FileStore) -> None:
        self._batches = batches
        self._files = files

    def create(self, view: RequestView) -> HttpReply:
        """Create a batch; whether its file is in order is found out later."""
        view.account.admit(is_azure=view.is_azure)
        fields = view.fields()
        for name in ("input_file_id", "endpoint", "completion_window"):
            if not isinstance(fields.get(name), str):
                raise missing(name)
        endpoint = fields["endpoint"]
        is_prefixed = view.is_azure or endpoint.startswith("/v1/")
        if not is_prefixed or plain_url(endpoint) not in PAID_ENDPOINTS:
            raise _not_valid("endpoint")
        if fields["completion_window"] != "24h":
            raise _not_valid("completion_window")
        after = fields.get("output_expires_after")
        batch = self._batches.create(
            account=view.account,
            input_file=self._input_file(view, fields["input_file_id"]),
            endpoint=endpoint,
            metadata=_metadata(fields.get("metadata")),
            output_lifetime_s=lifetime_s(after, "output_expires_after"),
            is_azure=view.is_azure,
        )
        return json_reply(200, _shown(batch))

    def list(self, view: RequestView) -> HttpReply:
        """List the key's batches, newest first."""
        batches = self._batches.listed(view.key_name)[::-1]
        return page_of(batches, view, _shown, usual=_USUAL_ON_PAGE, most=_MOST_ON_PAGE)

    def retrieve(self, view: RequestView, batch_id: str) -> HttpReply:
        """Show a batch."""
        return json_reply(200, _shown(self._found(view, batch_id)))

    def cancel(self, view: RequestView, batch_id: str) -> HttpReply:
        """Cancel a batch that is not over."""
        batch = self._found(view, batch_id)
        if batch.is_over:
            message = f"Cannot cancel a batch with status '{batch.status}'."
            raise Refused(error_reply(409, message))
        self._batches.cancel(batch)
        return json_reply(200, _shown(batch))

    def _found(self, view: RequestView, batch_id: str) -> SimBatch:
        batch = self._batches.find(batch_id, view.key_name)
        if batch is None:
            raise Refused(error_reply(404, f"No batch found with id '{batch_id}'."))
        return batch

    def _input_file(self, view: RequestView, file_id: str) -> StoredFile:
        file = self._files.find(file_id, view.key_name)
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


def _shown(batch: SimBatch) -> dict[str, Any]:
    times = {f"{status}_at": _second(batch.times_s.get(status)) for status in _TIMED}
    errors = {"object": "list", "data": [asdict(error) for error in batch.errors]}
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": batch.model or None,
        "errors": errors if batch.errors else None,
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
        "usage": usage_fields(batch.prompt_tokens, batch.completion_tokens),
        "metadata": batch.metadata or None,
    }


def _second(time_s: float | None) -> int | None:
    return None if time_s is None else int(time_s)
