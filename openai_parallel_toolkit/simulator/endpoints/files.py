"""/files: upload, Azure's import, list, look at, read and delete."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any

from ..batches.file_store import FileStore, StoredFile
from ..completion import RequestView
from ..environment import Environment
from ..http_messages import HttpReply, json_reply
from ..refusals import Refused, error_reply, invalid, missing
from .pages import lifetime_s, page_of

_PURPOSES = frozenset({"assistants", "batch", "evals", "fine-tune", "user_data", "vision"})
_MOST_ON_PAGE = 10_000
_IMPORT_TIMEOUT_S = 30.0


class FileEndpoints:
    """Serves `/files`. Touched by the event loop's thread, save `_fetch`."""

    def __init__(self, environment: Environment, files: FileStore) -> None:
        self._environment = environment
        self._limits = environment.batch_limits
        self._files = files
        # The machine's proxies are none of the simulator's business.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def upload(self, view: RequestView) -> HttpReply:
        """Keep an uploaded file; on Azure it is pending at first."""
        form = view.request.form
        if form is None or form.file_name is None:
            raise missing("file")
        purpose = _purpose(form.fields.get("purpose"))
        self._admit(view, form.file_name, purpose, len(form.content))
        after = {
            name[len("expires_after[") : -1]: int(value) if value.isdecimal() else value
            for name, value in form.fields.items()
            if name.startswith("expires_after[")
        }
        file = self._files.add(
            form.content,
            key=view.key_name,
            name=form.file_name,
            purpose=purpose,
            status="pending" if view.is_azure else "processed",
            lifetime_s=lifetime_s(after or None, "expires_after"),
        )
        if view.is_azure:
            self._environment.later(
                self._environment.batch_controls.seconds / 8,
                lambda: self._files.settle(file, content=file.content),
            )
        return json_reply(201 if view.is_azure else 200, _shown(file))

    def import_file(self, view: RequestView) -> HttpReply:
        """Keep a file that is fetched from a URL; it is pending until that is done."""
        fields = view.fields()
        name, url = fields.get("filename"), fields.get("content_url")
        if not isinstance(name, str) or not name:
            raise missing("filename")
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise invalid("Invalid value for 'content_url'.", param="content_url")
        purpose = _purpose(fields.get("purpose"))
        self._admit(view, name, purpose, 0)
        file = self._files.add(b"", key=view.key_name, name=name, purpose=purpose, status="pending")
        threading.Thread(target=self._fetch, args=(file, url), name="import", daemon=True).start()
        return json_reply(201, _shown(file))

    def list(self, view: RequestView) -> HttpReply:
        """List the key's files, newest first unless asked otherwise."""
        query = view.request.query
        files = self._files.stored(view.key_name)
        if purpose := query.get("purpose"):
            files = [file for file in files if file.purpose == purpose]
        if query.get("order", "desc") == "desc":
            files.reverse()
        return page_of(files, view, _shown, usual=_MOST_ON_PAGE, most=_MOST_ON_PAGE)

    def retrieve(self, view: RequestView, file_id: str) -> HttpReply:
        """Show a file."""
        return json_reply(200, _shown(self._found(view, file_id)))

    def content(self, view: RequestView, file_id: str) -> HttpReply:
        """Send what is in a file."""
        file = self._found(view, file_id)
        if file.status != "processed":
            raise invalid(f"File {file.id} is not ready: its status is '{file.status}'.")
        return HttpReply(
            status=200, pieces=(file.content,), content_type="application/octet-stream"
        )

    def delete(self, view: RequestView, file_id: str) -> HttpReply:
        """Delete a file."""
        file = self._found(view, file_id)
        self._files.delete(file)
        return json_reply(200, {"id": file.id, "object": "file", "deleted": True})

    def _found(self, view: RequestView, file_id: str) -> StoredFile:
        file = self._files.find(file_id, view.key_name)
        if file is None:
            raise Refused(error_reply(404, f"No such File object: {file_id}", param="id"))
        return file

    def _admit(self, view: RequestView, name: str, purpose: str, size_bytes: int) -> None:
        if purpose == "batch" and not name.endswith(".jsonl"):
            raise invalid("Invalid file format for Batch API. Must be .jsonl", param="file")
        if size_bytes > self._limits.file_bytes:
            message = (
                f"The file has {size_bytes:,} bytes, more than the limit of "
                f"{self._limits.file_bytes:,}."
            )
            raise Refused(error_reply(413, message, param="file", code="file_too_large"))
        count = len(self._files.stored(view.key_name))
        if view.is_azure and count >= self._limits.azure_files:
            raise invalid(f"The resource keeps {count} files already, which is its limit.")

    def _fetch(self, file: StoredFile, url: str) -> None:
        """Fetch an import's content, in a thread of its own."""
        try:
            with self._opener.open(url, timeout=_IMPORT_TIMEOUT_S) as reply:
                content = reply.read()
        except (OSError, HTTPException, ValueError) as exc:
            self._files.settle(file, trouble=f"The URL could not be read: {exc}")
            return
        if len(content) > self._limits.file_bytes:
            self._files.settle(file, trouble=f"The file has {len(content):,} bytes: too many.")
        else:
            self._files.settle(file, content=content)


def _purpose(purpose: object) -> str:
    if not isinstance(purpose, str) or purpose not in _PURPOSES:
        known = ", ".join(sorted(_PURPOSES))
        raise invalid(f"'{purpose}' is not one of {known} - 'purpose'", param="purpose")
    return purpose


def _shown(file: StoredFile) -> dict[str, Any]:
    return {
        "id": file.id,
        "object": "file",
        "bytes": len(file.content),
        "created_at": int(file.created_s),
        "expires_at": None if file.expires_s is None else int(file.expires_s),
        "filename": file.name,
        "purpose": file.purpose,
        "status": file.status,
        "status_details": file.trouble,
    }
