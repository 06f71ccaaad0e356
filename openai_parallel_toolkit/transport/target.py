"""Work out where a leased request goes and which headers carry its key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from ..core.records import AZURE_API_VERSION, Lease

#: The paths that Azure serves below a deployment; the openai package has the same list.
_BELOW_DEPLOYMENT = frozenset(
    {
        "/completions",
        "/chat/completions",
        "/embeddings",
        "/audio/transcriptions",
        "/audio/translations",
        "/audio/speech",
        "/images/generations",
        "/images/edits",
    }
)
_AZURE_SUFFIX = re.compile(r"/openai(/v1)?/*$")


def is_azure(lease: Lease) -> bool:
    """Return whether the key is for Azure's form of the API."""
    return lease.azure_deployment is not None or lease.api_version is not None


def azure_endpoint(lease: Lease) -> str:
    """Return the resource's address without the "/openai" that users often copy along."""
    return _AZURE_SUFFIX.sub("", lease.api_base.rstrip("/"))


def url_of(lease: Lease, path: str, query: Mapping[str, str] | None = None) -> str:
    """Return the URL of an API path such as "/chat/completions" under this lease."""
    if not is_azure(lease):
        return lease.api_base.rstrip("/") + path + (f"?{urlencode(query)}" if query else "")
    deployment = quote(lease.azure_deployment or lease.need.model, safe="")
    below = f"/deployments/{deployment}" if path in _BELOW_DEPLOYMENT else ""
    told = urlencode({"api-version": lease.api_version or AZURE_API_VERSION, **(query or {})})
    return f"{azure_endpoint(lease)}/openai{below}{path}?{told}"


def key_header(lease: Lease) -> tuple[str, str]:
    if is_azure(lease):
        return "api-key", lease.secret.reveal()
    return "Authorization", f"Bearer {lease.secret.reveal()}"
