"""Tokens: estimated without a vocabulary, or counted exactly; texts split by them."""

from .counting import DEFAULT_REPLY_TOKENS, estimate_tokens, num_tokens_from_string
from .splitting import split_string_by_tokens

__all__ = [
    "DEFAULT_REPLY_TOKENS",
    "estimate_tokens",
    "num_tokens_from_string",
    "split_string_by_tokens",
]
