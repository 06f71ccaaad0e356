"""What a request asks and what would answer it, before a fault or a wire touches it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .http_messages import HttpReply, HttpRequest, read_json
from .keys import Account
from .refusals import invalid

_FIRST_SECOND = 1_700_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestView:
    """What somebody with a key wants done."""

    request: HttpRequest
    #: Which POST it is, from 1; 0: it is none.
    ordinal: int = 0
    account: Account
    #: SHA-256 of the body, of the file in a form, or of the path when there is no body.
    digest: bytes
    #: Whether it came over one of Azure's paths.
    is_azure: bool

    @property
    def key_name(self) -> str:
        """Name of its key; "": there is no such key."""
        return self.account.key.name

    @property
    def marked(self) -> bytes:
        """Where rules look for a marker: the body, or the name of an uploaded file."""
        form = self.request.form
        return self.request.body if form is None else (form.file_name or "").encode()

    def fields(self) -> dict[str, Any]:
        """Return the JSON object in its body, or the fields of a form; or raise Refused."""
        form = self.request.form
        if form is not None:
            return {**form.fields, "file": form.content}
        try:
            fields = read_json(self.request.body)
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            raise invalid("We could not parse the JSON body of your request.")
        return fields


@dataclass(frozen=True, slots=True, kw_only=True)
class PaidRequest:
    """A paid request, read."""

    #: The model that the body names, or Azure's deployment.
    model: str
    body: Mapping[str, Any]
    seed: int
    #: 32 bytes that depend on the seed and the body alone, as every answer does.
    dice: bytes
    #: Tokens that prompt and reply may have together.
    context_tokens: int
    #: Of USAGE_FORMS: how it is billed, and told.
    usage_form: str = "openai"

    def number(self, position: int) -> int:
        """Return the `position`-th (0 to 7) of the request's own 32-bit random numbers."""
        return int.from_bytes(self.dice[4 * position : 4 * position + 4], "big")

    @property
    def created_s(self) -> int:
        """Seconds since 1970 at which the answer says it was made: its own, at any time."""
        return _FIRST_SECOND + self.number(1) % 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """An answer before it is put into an endpoint's form."""

    #: One text for each choice, or each input to embed.
    parts: tuple[str, ...]
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    #: What a limit of tokens per minute counts: the prompt plus the largest reply.
    counted_tokens: int
    #: Parts of these that have a price, or a place in the usage, of their own.
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    audio_prompt_tokens: int = 0
    audio_completion_tokens: int = 0
    #: What it was served at; "": as usual.
    service_tier: str = ""


@dataclass(frozen=True, slots=True)
class PaidEndpoint:
    """An endpoint whose replies are billed."""

    #: Returns what would be answered, or raises Refused.
    complete: Callable[[PaidRequest], Completion]
    #: Returns the completion in this endpoint's form.
    render: Callable[[PaidRequest, Completion], HttpReply]
    #: What answers a request that names no model; "": it has to.
    default_model: str = ""


def usage_fields(prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
    """Return the usage as responses and batches tell it."""
    return {
        "input_tokens": prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt_tokens + completion_tokens,
    }
