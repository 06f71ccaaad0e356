"""GET /v1/models."""

from __future__ import annotations

from ..errands import Errand
from ..http1 import Reply, json_reply

#: Listed for a key that may use all models; other names are served as well.
_USUAL_MODELS = ("gpt-3.5-turbo", "gpt-4o", "gpt-4o-mini", "text-embedding-3-small")


def list_models(errand: Errand) -> Reply:
    """Return the models of a key.

    Raises:
        Refused: the key is unpaid or out of quota.
    """
    errand.account.admit(is_azure=errand.is_azure)
    key = errand.account.key
    names = _USUAL_MODELS if key.models is None else key.models
    models = [
        {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "simulator"}
        for name in names
    ]
    return json_reply(200, {"object": "list", "data": models})
