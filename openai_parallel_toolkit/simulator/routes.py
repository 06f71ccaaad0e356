"""The table of what is served where."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from .completion import PaidEndpoint, RequestView
from .endpoints import PAID_ENDPOINTS
from .endpoints.batches import BatchEndpoints
from .endpoints.files import FileEndpoints
from .http_messages import HttpReply, json_reply
from .refusals import Refused, unknown_url, wrong_method

#: What answers and is billed; or what does work that costs nothing, called with a RequestView and
#: what stood in the places of the path's braces.
Target = PaidEndpoint | Callable[..., HttpReply]
#: Listed for a key that may use all models; other names are served as well.
_USUAL_MODELS = ("gpt-3.5-turbo", "gpt-4o", "gpt-4o-mini", "text-embedding-3-small")


class Router:
    """Finds what serves a request.

    Args:
        table: by path, in which `{name}` stands for one segment, and method.
    """

    def __init__(self, table: Mapping[str, Mapping[str, Target]]) -> None:
        self._table = [
            (re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)), targets)
            for path, targets in table.items()
        ]

    def find(self, method: str, path: str) -> tuple[Target, Mapping[str, str]]:
        """Return what serves `method` at `path` and what its braces stand for, or raise Refused."""
        for pattern, targets in self._table:
            if (match := pattern.fullmatch(path)) is not None:
                if method not in targets:
                    raise Refused(wrong_method(list(targets)))
                return targets[method], match.groupdict()
        raise Refused(unknown_url(method, path))


def openai_routes(files: FileEndpoints, batches: BatchEndpoints) -> Router:
    """Return the table of OpenAI's and Azure's paths."""
    table: dict[str, Mapping[str, Target]] = {}
    for path, endpoint in PAID_ENDPOINTS.items():
        table[f"/v1{path}"] = {"POST": endpoint}
        if path != "/responses":
            table[f"/openai/deployments/{{deployment}}{path}"] = {"POST": endpoint}
    table["/v1/models"] = {"GET": _list_models}
    table["/openai/files/import"] = {"POST": files.import_file}
    for root in ("/v1", "/openai"):
        table |= {
            f"{root}/files": {"POST": files.upload, "GET": files.list},
            f"{root}/files/{{file_id}}": {"GET": files.retrieve, "DELETE": files.delete},
            f"{root}/files/{{file_id}}/content": {"GET": files.content},
            f"{root}/batches": {"POST": batches.create, "GET": batches.list},
            f"{root}/batches/{{batch_id}}": {"GET": batches.retrieve},
            f"{root}/batches/{{batch_id}}/cancel": {"POST": batches.cancel},
        }
    return Router(table)


def _list_models(view: RequestView) -> HttpReply:
    view.account.admit(is_azure=view.is_azure)
    key = view.account.key
    names = _USUAL_MODELS if key.models is None else key.models
    models = [
        {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "simulator"}
        for name in names
    ]
    return json_reply(200, {"object": "list", "data": models})
