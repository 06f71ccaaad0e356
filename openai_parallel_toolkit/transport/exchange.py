"""What is asked of a provider besides durable calls: files and batches. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

Method = Literal["GET", "POST", "DELETE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that goes out as multipart/form-data, streamed from disk."""

    #: Name that the provider sees.
    name: str
    #: Where it lies.
    path: str
    #: Form fields before it.
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpExchange:
    """One HTTP exchange."""

    method: Method
    #: API path without the base, for example "/files".
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    #: A JSON body; None: it has none, or is an upload.
    body: bytes | None = None
    upload: Upload | None = None
    #: Where the body of a 2xx reply is written as it comes; None: it is part of the reply.
    save_to: BinaryIO | None = None
