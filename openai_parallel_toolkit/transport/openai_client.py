"""HTTP clients for the openai package that send once, under the key of a lease.

The package's module-level calls share one client object and one `openai.api_key`. The lease
travels in a context variable instead, and is put on each request at the last moment.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import openai

from ..core.errors import UsageError
from ..core.records import AZURE_API_VERSION, Lease
from ..core.redaction import Secret
from .base import IDLE_S
from .openai_http import httpx
from .proxies import parse_proxy
from .target import azure_endpoint, is_azure, key_header, url_of

_CARRIED: ContextVar[tuple[Lease, OneSendClient] | None] = ContextVar(
    "openai_parallel_toolkit_carried", default=None
)
_INSTALLING = threading.Lock()
_PLACEHOLDER_KEY = "replaced-by-the-leased-key"
_CREDENTIALS = ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN")
#: They would name the organisation of another key.
_OWNER_HEADERS = ("OpenAI-Organization", "OpenAI-Project")
_AZURE_PATH = re.compile(r".*/openai(?:/deployments/[^/]+)?(?=/)")


@contextmanager
def carry(lease: Lease, http: OneSendClient) -> Iterator[None]:
    """Put module-level calls of this thread, or of this task, under `lease`; `http` sends them."""
    token = _CARRIED.set((lease, http))
    try:
        yield
    finally:
        _CARRIED.reset(token)


def install(proxy: Secret | None = None) -> None:
    """Make the openai module send under carried leases; does nothing when that is so already.

    Calls without a lease go out as before, with the user's own `openai.api_key`.

    Raises:
        UsageError: openai.http_client is a client of the user's own.
    """
    with _INSTALLING:
        # Each time: somebody may have set it back meanwhile.
        if openai.api_key is None and not any(map(os.environ.get, _CREDENTIALS)):
            openai.api_key = _PLACEHOLDER_KEY
        if isinstance(openai.http_client, LeasedClient):
            return
        if openai.http_client is not None:
            raise UsageError(
                "openai.http_client is set, so the leased key cannot be put on its requests; "
                "leave it unset, or write generate(self, client) and use that client"
            )
        openai.max_retries = 0
        openai.http_client = LeasedClient(**_client_options(proxy))
        atexit.register(openai.http_client.close)


class OneSendClient(openai.DefaultHttpxClient):
    """Sends once: no redirect is followed, and the SDK is told not to retry."""

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send the request as it is."""
        for name in _OWNER_HEADERS:
            request.headers.pop(name, None)
        if "api-key" in request.headers:  # openai 2.0 sends both
            request.headers.pop("Authorization", None)
        options["follow_redirects"] = False
        reply = super().send(request, **options)
        reply.headers["x-should-retry"] = "false"
        return reply


class LeasedClient(openai.DefaultHttpxClient):
    """Sends under the lease that the calling thread carries; without one as openai would.

    It lives as long as the process. What goes out under a lease goes over the connections of
    whoever lent it, who can close them.
    """

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Put the lease's key and address on the request, then have it sent."""
        carried = _CARRIED.get()
        if carried is None:
            return super().send(request, **options)
        lease, http = carried
        _redirect(request, lease)
        return http.send(request, **options)


class Clients:
    """Clients for leases, over one pool of connections.

    One lock guards `_clients`.
    """

    def __init__(self, proxy: Secret | None = None) -> None:
        #: What they all send through.
        self.http = OneSendClient(**_client_options(proxy))
        self._clients: dict[tuple[Secret, str, str | None, str | None], openai.OpenAI] = {}
        self._lock = threading.Lock()

    def client_for(self, lease: Lease) -> openai.OpenAI:
        """Return the client of the lease's key and address."""
        place = (lease.secret, lease.api_base, lease.azure_deployment, lease.api_version)
        with self._lock:
            if place not in self._clients:
                self._clients[place] = self._open(lease)
            return self._clients[place]

    def close(self) -> None:
        """Close all connections."""
        self.http.close()

    def _open(self, lease: Lease) -> openai.OpenAI:
        key = lease.secret.reveal()
        if not is_azure(lease):
            return openai.OpenAI(
                api_key=key, base_url=lease.api_base, max_retries=0, http_client=self.http
            )
        return openai.AzureOpenAI(
            api_key=key,
            azure_endpoint=azure_endpoint(lease),
            azure_deployment=lease.azure_deployment,
            api_version=lease.api_version or AZURE_API_VERSION,
            max_retries=0,
            http_client=self.http,
        )


def _client_options(proxy: Secret | None) -> dict[str, Any]:
    """No limit of connections: how much is in flight is decided elsewhere."""
    limits = httpx.Limits(
        max_connections=None, max_keepalive_connections=100, keepalive_expiry=IDLE_S
    )
    if proxy is None:
        direct: dict[str, None] = dict.fromkeys(
            ("all://localhost", "all://127.0.0.1", "all://[::1]")
        )
        return {"limits": limits, "mounts": direct}
    found = parse_proxy(proxy.reveal())
    auth = (found.user, found.password.reveal()) if found.password else None
    return {"limits": limits, "proxy": httpx.Proxy(found.url, auth=auth), "trust_env": False}


def _redirect(request: httpx.Request, lease: Lease) -> None:
    if is_azure(lease) and lease.azure_deployment is None:
        lease = replace(lease, azure_deployment=_model_in(request))
    target = httpx.URL(url_of(lease, _api_path(request.url.path)))
    asked = request.url.params.remove("api-version")
    request.url = target.copy_with(params=asked.merge(target.params))
    request.headers["Host"] = target.netloc.decode("ascii")
    for name in ("Authorization", "api-key"):
        request.headers.pop(name, None)
    name, value = key_header(lease)
    request.headers[name] = value


def _model_in(request: httpx.Request) -> str | None:
    """Return the model that a JSON body names, which may be another than the call is known by."""
    if request.headers.get("Content-Type") != "application/json" or not request.content:
        return None
    model = json.loads(request.content).get("model")
    return model if isinstance(model, str) else None


def _api_path(path: str) -> str:
    """Return "/chat/completions" of "/v1/chat/completions": the path without the module's base."""
    base = str(openai.base_url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1")
    below = urlsplit(base).path.rstrip("/") + "/"
    if path.startswith(below):
        return path[len(below) - 1 :]
    return _AZURE_PATH.sub("", path)
