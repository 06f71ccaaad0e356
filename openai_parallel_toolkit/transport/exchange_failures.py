"""What can go wrong in an exchange, in words without secrets, and how much is taken of a reply."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl

from ..core.open_file_limit import is_out_of_room
from .base import Phase

#: The longest line of a reply's head that is read, and the most lines.
HEADER_BYTES, HEADERS = 262_144, 1_000
#: Bytes in a row of which nothing is part of a reply's body: heads, ends of chunks, empty blocks.
BARREN_BYTES = 1_048_576
#: What is read of a refusal: its status tells most.
REFUSAL_BYTES = 1_000_000


class NotConnected(Exception):
    """Carries whatever went wrong before a connection was ready."""

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.cause = cause


class SpokeFirst(ConnectionError):
    """A server spoke before it was asked."""


class ExchangeFailed(Exception):
    """An exchange failed, and it is known at what."""

    def __init__(self, phase: Phase, told: str) -> None:
        super().__init__(phase, told)
        self.phase = phase
        #: For people; holds no secret.
        self.told = told


def bad_head() -> ExchangeFailed:
    """Return what to raise when a reply's headers cannot be read."""
    told = f"its headers are malformed or longer than {HEADER_BYTES:,} bytes"
    return ExchangeFailed("head", told)


def cut_body() -> ExchangeFailed:
    """Return what to raise when the body of a reply is not whole."""
    return ExchangeFailed("body", "its body ended too early or cannot be unpacked")


def hung_up() -> ExchangeFailed:
    """Return what to raise when the server ends a connection before its reply."""
    return ExchangeFailed("read", "it closed the connection")


def barren() -> ExchangeFailed:
    """Return what to raise when what comes has no end and is no body."""
    told = f"more than {BARREN_BYTES:,} bytes came that are no part of its body"
    return ExchangeFailed("size", told)


def too_large(most_bytes: int) -> ExchangeFailed:
    """Return what to raise when a reply is larger than what is taken."""
    told = f"it is larger than {most_bytes:,} bytes; if it is meant to be, raise max_reply_bytes"
    return ExchangeFailed("size", told)


def safe_text(exc: BaseException) -> str:
    """Return type and reason of an error, and never its text, which may hold URLs and headers."""
    if isinstance(exc, ExchangeFailed):
        return exc.told
    if isinstance(exc, asyncio.TimeoutError):
        return "it took too long"
    if isinstance(exc, SpokeFirst):
        return "it speaks before it is asked, as HTTP servers do not"
    if is_out_of_room(exc):
        return "this process has too many files and connections open (`ulimit -n`)"
    if isinstance(exc, socket.gaierror):  # it has numbers of its own
        return f"its name cannot be looked up: {exc.strerror}"
    if isinstance(exc, ssl.SSLCertVerificationError):
        told = getattr(exc, "verify_message", "") or type(exc).__name__
        return f"its certificate is not trusted: {told}"
    if isinstance(exc, ssl.SSLError):
        return f"TLS fails: {exc.reason or type(exc).__name__}"
    errno = getattr(exc, "errno", None)
    return os.strerror(errno) if isinstance(errno, int) and errno > 0 else type(exc).__name__
