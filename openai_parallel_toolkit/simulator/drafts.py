"""What an endpoint is asked and what it would answer, before a fault or a wire touches it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .http1 import Reply, read_json
from .refusals import invalid


def json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body holds.

    Raises:
        Refused: it holds none.
    """
    try:
        fields = read_json(body)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise invalid("We could not parse the JSON body of your request.")
    return fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
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
        """Return the `position`-th (0 to 7) of the call's own 32-bit random numbers."""
        return int.from_bytes(self.dice[4 * position : 4 * position + 4], "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReader:
    """Reads the bodies of paid requests."""

    seed: int
    context_tokens: int

    def read(self, body: bytes, digest: bytes, *, deployment: str | None = None) -> Call:
        """Return the call that a body makes.

        Args:
            body: as it came.
            digest: its SHA-256.
            deployment: the model when the body names none.

        Raises:
            Refused: it is no JSON object, or no model is named.
        """
        fields = json_object(body)
        model = fields.get("model", deployment)
        if not isinstance(model, str) or not model:
            raise invalid("you must provide a model parameter", param="model")
        return Call(
            model=model,
            body=fields,
            seed=self.seed,
            dice=hashlib.sha256(b"%d " % self.seed + digest).digest(),
            context_tokens=self.context_tokens,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An answer before it is put into an endpoint's form."""

    #: One text for each choice, or each input to embed.
    parts: tuple[str, ...]
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    #: What a limit of tokens per minute counts: the prompt plus the largest reply.
    counted_tokens: int


class Generator(Protocol):
    """An endpoint whose replies are billed."""

    def draft(self, call: Call) -> Draft:
        """Return what would be answered.

        Raises:
            Refused: the body cannot be served.
        """

    def render(self, call: Call, draft: Draft) -> Reply:
        """Return the draft in this endpoint's form."""
