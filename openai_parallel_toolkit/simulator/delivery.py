"""Put a reply on the wire, well or badly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from .faults import Fault, kept_bytes
from .http1 import Reply, chunk_bytes, head_bytes, reply_bytes


class Wire(Protocol):
    """What a delivery may do with a connection."""

    def send(self, data: bytes) -> None:
        """Write bytes."""

    def finish(self) -> None:
        """Say that the reply is written whole; the connection goes on."""

    def close(self) -> None:
        """Say that no more comes, and close once all is sent."""

    def reset(self) -> None:
        """Say that no more comes, and break the connection with an RST."""

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Do something after a while, unless the connection is gone by then."""


def deliver(wire: Wire, reply: Reply, fault: Fault | None) -> None:
    """Deliver a reply as the fault says; kinds that are none of delivery's are sent whole."""
    action = _ACTIONS.get(fault.kind) if fault is not None else None
    if fault is None or action is None:
        wire.send(reply_bytes(reply))
        wire.finish()
    else:
        action(wire, reply, fault)


def _cut_body(wire: Wire, reply: Reply, fault: Fault) -> None:
    wire.send(_first_part(reply, fault))
    wire.close()


def _cut_chunked(wire: Wire, reply: Reply, fault: Fault) -> None:
    piece = reply.body[: kept_bytes(reply, fault)]
    wire.send(head_bytes(reply, length_bytes=None) + (chunk_bytes(piece) if piece else b""))
    wire.close()


def _reset_before(wire: Wire, _reply: Reply, _fault: Fault) -> None:
    wire.reset()


def _reset_during(wire: Wire, reply: Reply, fault: Fault) -> None:
    wire.send(_first_part(reply, fault))
    wire.reset()


def _close_before(wire: Wire, _reply: Reply, _fault: Fault) -> None:
    wire.close()


def _never(_wire: Wire, _reply: Reply, _fault: Fault) -> None:
    """Leave the client waiting until it hangs up."""


def _close_idle(wire: Wire, reply: Reply, fault: Fault) -> None:
    wire.send(reply_bytes(reply))
    if fault.seconds:
        wire.finish()
        wire.later(fault.seconds, wire.close)
    else:
        wire.close()


def _drip(wire: Wire, reply: Reply, fault: Fault) -> None:
    body = reply.body
    interval_s = 1.0 if fault.seconds is None else fault.seconds
    wire.send(head_bytes(reply, length_bytes=len(body)))

    def drop(position: int) -> None:
        if position == len(body):
            wire.finish()
            return
        wire.send(body[position : position + 1])
        wire.later(interval_s, lambda: drop(position + 1))

    drop(0)


def _first_part(reply: Reply, fault: Fault) -> bytes:
    body = reply.body
    return head_bytes(reply, length_bytes=len(body)) + body[: kept_bytes(reply, fault)]


_ACTIONS: dict[str, Callable[[Wire, Reply, Fault], None]] = {
    "cut_body": _cut_body,
    "cut_chunked": _cut_chunked,
    "reset_before": _reset_before,
    "reset_during": _reset_during,
    "close_before": _close_before,
    "never": _never,
    "close_idle": _close_idle,
    "drip": _drip,
}
