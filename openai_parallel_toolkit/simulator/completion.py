"""What a paid request asks and what would answer it, before a fault or a wire touches it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .http_messages import HttpReply
from .refusals import invalid
from .request_view import RequestView

_FIRST_SECOND = 1_700_000_000


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

    def number(self, position: int) -> int:
        """Return the `position`-th (0 to 7) of the request's own 32-bit random numbers."""
        return int.from_bytes(self.dice[4 * position : 4 * position + 4], "big")

    @property
    def created_s(self) -> int:
        """Seconds since 1970 at which the answer says it was made: its own, at any time."""
        return _FIRST_SECOND + self.number(1) % 10_000_000


def paid_request(
    view: RequestView, *, seed: int, context_tokens: int, deployment: str | None = None
) -> PaidRequest:
    """Return what a request asks; `deployment` is the model when its body names none.

    Raises:
        Refused: its body is no JSON object, or no model is named.
    """
    fields = view.fields()
    model = fields.get("model", deployment)
    if not isinstance(model, str) or not model:
        raise invalid("you must provide a model parameter", param="model")
    return PaidRequest(
        model=model,
        body=fields,
        seed=seed,
        dice=hashlib.sha256(b"%d " % seed + view.digest).digest(),
        context_tokens=context_tokens,
    )


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


class PaidEndpoint(Protocol):
    """An endpoint whose replies are billed."""

    def complete(self, paid: PaidRequest) -> Completion:
        """Return what would be answered.

        Raises:
            Refused: the body cannot be served.
        """

    def render(self, paid: PaidRequest, completion: Completion) -> HttpReply:
        """Return the completion in this endpoint's form."""


def usage_fields(prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
    """Return the usage as responses and batches tell it."""
    return {
        "input_tokens": prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt_tokens + completion_tokens,
    }
