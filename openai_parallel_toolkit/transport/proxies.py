"""Find the proxy for an address, and keep its password to ourselves."""

from __future__ import annotations

import ipaddress
import re
import urllib.request
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from ..core.errors import ConfigError
from ..core.redaction import Secret

_DEFAULT_PORTS = {"http": 80, "https": 443}
#: A port after an address in brackets or after what has no other colon.
_WITH_PORT = re.compile(r"(.*\]|[^:]*):(\d+)")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


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
    """Return the proxy that the environment sets for a URL; None: none, or it is loopback.

    Raises:
        ConfigError: it is none that can be used.
    """
    parts = _split(url)
    host = parts.hostname if parts is not None else None
    if parts is None or not host or is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    listed = urllib.request.getproxies_environment().get("no", "")
    if goes_directly(host, parts.port or _DEFAULT_PORTS.get(parts.scheme), listed):
        return None
    proxies = urllib.request.getproxies()
    found = proxies.get(parts.scheme) or proxies.get("all")
    return parse_proxy(found) if found else None


def goes_directly(host: str, port: int | None, no_proxy: str) -> bool:
    """Return whether NO_PROXY lists a host.

    Entries stand between commas or spaces: "*" for all, addresses and ranges (10.0.0.0/8,
    fd00::/8), names, which stand for what is below them as well ("a.example", ".a.example" and
    "*.a.example" alike), names with other asterisks, and each of them with a port, and v6 in
    brackets then.

    Source: https://curl.se/libcurl/c/CURLOPT_NOPROXY.html and
    https://pkg.go.dev/golang.org/x/net/http/httpproxy (read 2026-11).
    """
    host = _plain(host)
    address = _address(host)
    return any(_lists(entry, host, address, port) for entry in re.split(r"[\s,]+", no_proxy))


def _lists(entry: str, host: str, address: _Address | None, port: int | None) -> bool:
    with_port = _WITH_PORT.fullmatch(entry)
    if with_port is not None:
        entry = with_port[1]
        if with_port[2].lstrip("0") != str(port):
            return False
    entry = entry.replace("[", "").replace("]", "")
    name = _plain(entry).removeprefix("*").lstrip(".")
    if entry == "*" or not name:
        return entry == "*"
    if address is not None and _is_within(address, name):
        return True
    if "*" in name:
        return re.fullmatch(".*".join(map(re.escape, _plain(entry).split("*"))), host) is not None
    return host == name or (address is None and host.endswith(f".{name}"))


def _is_within(address: _Address, network: str) -> bool:
    base, _, length = network.partition("/")
    start = _address(base)
    if start is None:
        return False
    try:
        return address in ipaddress.ip_network(f"{start}/{length}" if length else start, False)
    except ValueError:
        return False


def _plain(name: str) -> str:
    return name.lower().rstrip(".").partition("%")[0]


def _address(text: str) -> _Address | None:
    """Return an address; a v4 that stands in a v6 as what it is."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine."""
    address = _address(_plain(host))
    if address is None:
        return _plain(host) == "localhost" or host.endswith(".localhost")
    return address.is_loopback


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts
