"""Find the proxy for an address, and keep its password to ourselves."""

from __future__ import annotations

import ipaddress
import urllib.request
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from ..core.errors import ConfigError
from ..core.redaction import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """An HTTP proxy; its string form hides the password."""

    #: Scheme, host and port only.
    url: str
    user: str = ""
    #: None: the proxy wants no credentials.
    password: Secret | None = None

    def __str__(self) -> str:
        if self.password is None:
            return self.url
        return self.url.replace("://", f"://{self.user}:[{self.password.name}]@", 1)


def parse_proxy(url: str) -> Proxy:
    """Read a proxy's URL; one without a scheme means http."""
    parts = _split(url if "://" in url else f"http://{url}")
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(
            "The proxy cannot be used: only http:// and https:// proxies are supported; "
            'set "proxy" to a URL such as http://user:password@proxy.example:3128'
        )
    address = parts.netloc.rpartition("@")[2]
    has_credentials = parts.username is not None
    return Proxy(
        url=f"{parts.scheme}://{address}",
        user=unquote(parts.username or ""),
        password=Secret(unquote(parts.password or ""), "password") if has_credentials else None,
    )


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy that the environment sets for a URL; None: none, or it is loopback."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    found = proxies.get(parts.scheme) or proxies.get("all")
    return parse_proxy(found) if found else None


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts
