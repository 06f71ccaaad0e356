"""GET /v1/models."""

from __future__ import annotations

from ..http1 import Reply, json_reply
from ..keys import SimKey

#: Listed for a key that may use all models; other names are served as well.
_USUAL_MODELS = ("gpt-3.5-turbo", "gpt-4o", "gpt-4o-mini", "text-embedding-3-small")


def list_models(key: SimKey) -> Reply:
    """Return the models of a key."""
    names = _USUAL_MODELS if key.models is None else key.models
    models = [
        {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "simulator"}
        for name in names
    ]
    return json_reply(200, {"object": "list", "data": models})
