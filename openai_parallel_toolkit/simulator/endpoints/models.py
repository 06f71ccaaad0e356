"""GET /v1/models."""

from __future__ import annotations

from ..http_messages import HttpReply, json_reply
from ..request_view import RequestView

#: Listed for a key that may use all models; other names are served as well.
_USUAL_MODELS = ("gpt-3.5-turbo", "gpt-4o", "gpt-4o-mini", "text-embedding-3-small")


def list_models(view: RequestView) -> HttpReply:
    """Return the models of a key.

    Raises:
        Refused: the key is unpaid or out of quota.
    """
    view.account.admit(is_azure=view.is_azure)
    key = view.account.key
    names = _USUAL_MODELS if key.models is None else key.models
    models = [
        {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "simulator"}
        for name in names
    ]
    return json_reply(200, {"object": "list", "data": models})
