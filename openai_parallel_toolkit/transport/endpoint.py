"""Send to one address with headers that the user gave, instead of under the key of a lease."""

from __future__ import annotations

from collections.abc import Mapping

from ..core.records import Lease
from ..core.redaction import Secret
from .exchange import HttpExchange
from .http import HttpTransport
from .proxies import Proxy


class EndpointTransport(HttpTransport):
    """A Transport that sends everything to `url` with `headers`, as they are."""

    def __init__(self, url: str, headers: Mapping[str, Secret]) -> None:
        super().__init__()
        self._url = url
        self._headers = dict(headers)

    def _target(self, exchange: HttpExchange, lease: Lease) -> tuple[str, dict[str, str]]:
        del exchange, lease
        return self._url, {name: value.reveal() for name, value in self._headers.items()}

    def _proxy_for(self, api_base: str) -> Proxy | None:
        del api_base
        return super()._proxy_for(self._url)
