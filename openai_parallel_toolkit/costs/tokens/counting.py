"""Estimate tokens without a vocabulary, or count them exactly as tiktoken does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...core.records import Media
from .vocabulary import encoding_for

if TYPE_CHECKING:
    from tiktoken import Encoding

#: Counts one text.
Counter = Callable[[str], int]
#: tiktoken's pattern matcher panics, with a BaseException, on about 600,000 spaces in a row.
_LONG_BLANK = 50_000
#: Source: https://platform.openai.com/tokenizer, "one token ~ 4 characters of English" (2026-11).
_BYTES_PER_TOKEN = 4
#: Set aside for a reply whose length the request does not limit.
DEFAULT_REPLY_TOKENS = 4096


def estimate_tokens(size_bytes: int, media: Media | None = None) -> int:
    """Return about how many tokens a body of such a size holds, its media included; at least 1."""
    if media is None:
        return size_bytes // _BYTES_PER_TOKEN + 1
    return (size_bytes - media.size_bytes) // _BYTES_PER_TOKEN + 1 + media.likely_tokens


def num_tokens_from_string(string: str, model: str = "gpt-3.5-turbo") -> int:
    """Return how many tokens a text is for a model, exactly as tiktoken counts.

    Special tokens such as `<|endoftext|>` count as the plain text they are, and a lone surrogate as
    U+FFFD. For a model that tiktoken does not know, o200k_base counts. The first use of a
    vocabulary may download it; the extra `offline` makes that unnecessary.

    Raises:
        ToolkitError: the vocabulary is not there and cannot be downloaded; says what to do.
    """
    return counter_for(model)(string)


def counter_for(model: str) -> Counter:
    """Return the function that counts texts for a model."""
    encoding = encoding_for(model)
    encode = encoding.encode_ordinary

    def count(text: str) -> int:
        if len(text) > _LONG_BLANK and _has_long_blank(text):
            return _count_calmly(encoding, text)
        return len(encode(text))

    return count


def _has_long_blank(text: str) -> bool:
    """Whether a stretch of white space is dangerously long; never so below `_LONG_BLANK`."""
    starts = range(0, len(text), _LONG_BLANK)
    return any(text[start : start + _LONG_BLANK].isspace() for start in starts)


def _count_calmly(encoding: Encoding, text: str) -> int:
    """Count by the same pattern in another matcher, which takes any text but two times longer."""
    import regex  # type: ignore[import-untyped]

    sound = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    words = regex.finditer(encoding._pat_str, sound)
    return sum(len(encoding._encode_single_piece(word.group())) for word in words)
