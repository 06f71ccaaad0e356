"""What the package asks of whatever carries requests."""

from __future__ import annotations

from typing import Literal, Protocol

from ..core.records import Lease, RawReply, Request

FaultKind = Literal["unsent", "unknown"]
Phase = Literal[
    "request", "dns", "connect", "tls", "proxy", "pool", "write", "read", "body", "deadline"
]


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
