"""POST /v1/embeddings."""

from __future__ import annotations

import base64
import hashlib
import math
from array import array
from typing import Any

from ..answers import positive, required, token_count
from ..completion import Completion, PaidRequest
from ..http_messages import HttpReply, json_reply
from ..refusals import invalid, too_long

_DIMENSIONS = {"text-embedding-3-large": 3072}
_USUAL_DIMENSIONS = 1536
_MOST_DIMENSIONS = 4096


def complete(paid: PaidRequest) -> Completion:
    """Return unit vectors that depend on the seed and the text, or raise Refused."""
    texts, tokens = _inputs(required(paid.body, "input"))
    if (positive(paid.body, "dimensions") or 1) > _MOST_DIMENSIONS:
        raise invalid("Invalid value for 'dimensions'.", param="dimensions")
    if tokens > paid.context_tokens:
        raise too_long(paid.context_tokens, tokens, "input")
    return Completion(
        parts=texts,
        finish_reason="stop",
        prompt_tokens=tokens,
        completion_tokens=0,
        counted_tokens=tokens,
    )


def render(paid: PaidRequest, completion: Completion) -> HttpReply:
    """Return a vector for each text, as numbers or base64."""
    size = positive(paid.body, "dimensions") or _DIMENSIONS.get(paid.model, _USUAL_DIMENSIONS)
    is_packed = paid.body.get("encoding_format") == "base64"
    rows = [
        {"object": "embedding", "index": index, "embedding": _embedding(vector, is_packed)}
        for index, text in enumerate(completion.parts)
        for vector in [_vector(paid.seed, text, size)]
    ]
    usage = {
        "prompt_tokens": completion.prompt_tokens,
        "total_tokens": completion.prompt_tokens,
    }
    return json_reply(200, {"object": "list", "data": rows, "model": paid.model, "usage": usage})


def _inputs(value: Any) -> tuple[tuple[str, ...], int]:
    """Return the texts to embed and their tokens; a list of numbers is a text in tokens."""
    items = value if isinstance(value, list) else [value]
    if all(_is_token(item) for item in items):
        items = [items]
    texts, tokens = [], 0
    for item in items:
        if isinstance(item, str) and item:
            tokens += token_count(item)
        elif isinstance(item, list) and item and all(_is_token(token) for token in item):
            tokens += len(item)
        else:
            raise invalid("Invalid type for 'input'.", param="input", code="invalid_type")
        texts.append(str(item))
    return tuple(texts), tokens


def _is_token(item: object) -> bool:
    return isinstance(item, int) and not isinstance(item, bool)


def _vector(seed: int, text: str, size: int) -> list[float]:
    if not text:
        return []
    source = b"%d " % seed + text.encode("utf-8", "surrogatepass")
    numbers = array("h", hashlib.shake_256(source).digest(2 * size))
    length = math.sqrt(sum(number * number for number in numbers)) or 1.0
    return [number / length for number in numbers]


def _embedding(vector: list[float], is_packed: bool) -> list[float] | str:
    return base64.b64encode(array("f", vector).tobytes()).decode("ascii") if is_packed else vector
