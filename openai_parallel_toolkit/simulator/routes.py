"""The table of what is served where."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .drafts import Generator
from .endpoints.batches import BatchDesk
from .endpoints.chat import ChatCompletions
from .endpoints.embeddings import Embeddings
from .endpoints.files import FileDesk
from .endpoints.models import list_models
from .endpoints.responses import Responses
from .errands import Desk
from .refusals import Refused, unknown_url, wrong_method


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What serves a request."""

    target: Generator | Desk
    #: What stood in the places of the path's braces.
    names: Mapping[str, str]


class Router:
    """Finds what serves a request.

    A table's keys are a method and a path, in which `{name}` stands for one segment.
    """

    def __init__(self, table: Mapping[tuple[str, str], Generator | Desk]) -> None:
        self._exact = {key: target for key, target in table.items() if "{" not in key[1]}
        self._patterns = [
            (method, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)), target)
            for (method, path), target in table.items()
            if "{" in path
        ]

    def find(self, method: str, path: str) -> Found:
        """Return what serves `method` at `path`.

        Raises:
            Refused: nothing does.
        """
        target = self._exact.get((method, path))
        if target is not None:
            return Found(target=target, names={})
        allowed = [known for known, exact in self._exact if exact == path]
        for known, pattern, target in self._patterns:
            match = pattern.fullmatch(path)
            if match and known == method:
                return Found(target=target, names=match.groupdict())
            if match:
                allowed.append(known)
        if allowed:
            raise Refused(wrong_method(allowed))
        raise Refused(unknown_url(method, path))


def paid_endpoints() -> dict[str, Generator]:
    """Return what answers and is billed, by its path without "/v1"."""
    return {
        "/chat/completions": ChatCompletions(),
        "/embeddings": Embeddings(),
        "/responses": Responses(),
    }


def openai_routes(paid: Mapping[str, Generator], files: FileDesk, batches: BatchDesk) -> Router:
    """Return the table of OpenAI's and Azure's paths."""
    table: dict[tuple[str, str], Generator | Desk] = {
        ("GET", "/v1/models"): list_models,
        ("POST", "/openai/files/import"): files.import_file,
    }
    for path, endpoint in paid.items():
        table["POST", f"/v1{path}"] = endpoint
        if path != "/responses":
            table["POST", f"/openai/deployments/{{deployment}}{path}"] = endpoint
    for root in ("/v1", "/openai"):
        table |= {
            ("POST", f"{root}/files"): files.upload,
            ("GET", f"{root}/files"): files.list,
            ("GET", f"{root}/files/{{file_id}}"): files.retrieve,
            ("DELETE", f"{root}/files/{{file_id}}"): files.delete,
            ("GET", f"{root}/files/{{file_id}}/content"): files.content,
            ("POST", f"{root}/batches"): batches.create,
            ("GET", f"{root}/batches"): batches.list,
            ("GET", f"{root}/batches/{{batch_id}}"): batches.retrieve,
            ("POST", f"{root}/batches/{{batch_id}}/cancel"): batches.cancel,
        }
    return Router(table)
