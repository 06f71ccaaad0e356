"""What the package asks of whatever carries requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Literal, Protocol

from ..core.records import Lease, RawReply, Request

FaultKind = Literal["unsent", "unknown"]
#: "idle": a kept connection ended while it waited for a request; "head": a reply came whose
#: headers cannot be read, as would the next; "size": it is too large, as would be the next.
Phase = Literal[
    "request",
    "dns",
    "connect",
    "tls",
    "proxy",
    "pool",
    "idle",
    "write",
    "read",
    "head",
    "body",
    "size",
    "deadline",
]
Method = Literal["GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"]

#: Kept connections end after so many seconds without a request: before servers end them
#: (gunicorn after 2, uvicorn and Node.js after 5, AWS's load balancers after 60, nginx after 75).
#: Source: https://docs.gunicorn.org/en/stable/settings.html#keepalive,
#: https://www.uvicorn.org/settings/#timeouts,
#: https://nodejs.org/api/http.html#serverkeepalivetimeout,
#: https://nginx.org/en/docs/http/ngx_http_core_module.html#keepalive_timeout (read 2026-11).
IDLE_S = 1.5


class SendFault(Exception):
    """No whole reply came back."""

    def __init__(self, kind: FaultKind, phase: Phase, reason: str) -> None:
        super().__init__(kind, phase, reason)
        #: "unsent": no byte of the request left, so nothing is billed; "unknown": maybe billed.
        self.kind = kind
        #: How far it came.
        self.phase = phase
        #: For people; holds no secret.
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class Transport(Protocol):
    """Sends requests, each exactly once: it retries nothing and follows no redirect."""

    async def send(self, request: Request, lease: Lease, *, timeout_s: float) -> RawReply:
        """Send the request under the lease's key and return the whole reply, of any status.

        Args:
            timeout_s: seconds from connecting to the last byte of the reply.

        Raises:
            SendFault: no whole reply came; it says whether the request may be billed.
        """
        ...

    async def close(self) -> None:
        """Close all connections; nothing can be sent afterwards."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that goes out as multipart/form-data, streamed from disk."""

    #: Name that the provider sees.
    name: str
    #: Where it lies.
    path: str
    #: Form fields before it.
    fields: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class HttpExchange:
    """One HTTP exchange; read only."""

    method: Method
    #: API path without the base, for example "/files".
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    #: None: it has none, or is an upload.
    body: bytes | None = None
    content_type: str = "application/json"
    headers: Sequence[tuple[str, str]] = ()
    upload: Upload | None = None
    #: Where the body of a 2xx reply is written as it comes; None: it is part of the reply.
    save_to: BinaryIO | None = None
