"""Estimate tokens without a vocabulary, for limits and forecasts."""

from __future__ import annotations

#: Source: https://platform.openai.com/tokenizer, "one token ~ 4 characters of English" (2026-11).
_BYTES_PER_TOKEN = 4
#: Set aside for a reply whose length the request does not limit.
DEFAULT_REPLY_TOKENS = 4096


def estimate_tokens(body: bytes) -> int:
    """Return about how many tokens a request body holds; at least 1."""
    return len(body) // _BYTES_PER_TOKEN + 1
