"""Read the tokens that a reply says it used, whichever provider's form it has. Pure.

Unknown is never zero: what is missing, empty or cannot be read is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ..core.records import Usage
from ..costs.model_price import BATCH_TIER, STANDARD_TIERS, UNSAID_TIER

#: Where replies tell their usage: OpenAI's and its kin, and Gemini's own API.
_PLACES = ("usage", "usageMetadata")
#: Source: the references of OpenAI's chat completions and responses, of Anthropic's messages and
#: of Gemini's generateContent (read 2026-11).
_PROMPT = ("prompt_tokens", "input_tokens", "promptTokenCount")
_COMPLETION = ("completion_tokens", "output_tokens", "candidatesTokenCount")
_TOTAL = ("total_tokens", "totalTokenCount")
_PROMPT_DETAILS = ("prompt_tokens_details", "input_tokens_details")
_COMPLETION_DETAILS = ("completion_tokens_details", "output_tokens_details")
_WRITTEN_DETAILS = ("cache_creation",)
_REASONING = ("reasoning_tokens", "thoughtsTokenCount")
_AUDIO = ("audio_tokens",)
#: Source: https://api-docs.deepseek.com/guides/kv_cache, https://platform.moonshot.ai/docs and
#: https://openrouter.ai/docs/guides/best-practices/prompt-caching (read 2026-11).
_CACHED = (
    "cached_tokens",
    "cache_read_input_tokens",
    "cache_read_tokens",
    "prompt_cache_hit_tokens",
    "cachedContentTokenCount",
)
_WRITTEN = (
    "cache_write_tokens",
    "cache_creation_tokens",
    "cache_creation_input_tokens",
    "cache_write_input_tokens",
)
#: Spelled so, what the cache had is beside the prompt's tokens, unless the total says otherwise.
#: Source: https://platform.claude.com/docs/en/build-with-claude/prompt-caching (read 2026-11).
_BESIDE = ("cache_read_input_tokens", "cache_creation_input_tokens")
#: What is kept for an hour costs more than what is kept for minutes, and prices tell of one only.
_KEPT_LONG = ("ephemeral_1h_input_tokens",)
#: More tokens than any request can have.
_NONSENSE = 10**12
_LONGEST_TIER = 100


class _UnreadableError(ValueError):
    """A count is there and is none, or counts contradict each other."""


def read_usage(raw: Mapping[str, Any]) -> Usage | None:
    """Return the tokens that a reply says it used; None: it does not say, or not all."""
    usage = next((raw[name] for name in _PLACES if isinstance(raw.get(name), dict)), None)
    if usage is None:
        return None
    tier = raw.get("service_tier") or usage.get("service_tier")
    tier = _tier(tier) if isinstance(tier, str) else None
    try:
        return _read(usage, tier, has_output=raw.get("object") != "list")
    except _UnreadableError:
        return None


def served(usage: Usage | None, asked_tier: str) -> Usage | None:
    """Return usage at the tier that served the request: what the reply says decides.

    Where it says nothing although a tier was asked for, nobody knows the price.
    """
    if usage is None or usage.service_tier is not None or asked_tier in STANDARD_TIERS:
        return usage
    return replace(usage, service_tier=UNSAID_TIER)


def in_batch(usage: Usage | None) -> Usage | None:
    """Return usage of a line of a batch: it has the price of batches, whatever tier it asked for.

    Where the reply says that another tier served it, nobody knows the price.
    """
    if usage is None:
        return None
    is_plain = (usage.service_tier or "") in {*STANDARD_TIERS, BATCH_TIER}
    return replace(usage, service_tier=BATCH_TIER if is_plain else UNSAID_TIER)


def _tier(told: str) -> str:
    if told in STANDARD_TIERS:
        return told
    return told[:_LONGEST_TIER].strip().lower().encode("ascii", "replace").decode()


def _read(usage: Mapping[str, Any], tier: str | None, *, has_output: bool) -> Usage:
    of_prompt = _objects(usage, _PROMPT_DETAILS)
    of_completion = _objects(usage, _COMPLETION_DETAILS)
    prompt, completion = _count(_PROMPT, usage), _count(_COMPLETION, usage)
    total = _count(_TOTAL, usage)
    cached = _count(_CACHED, *of_prompt, usage) or 0
    written = _count(_WRITTEN, *of_prompt, usage) or 0
    prompt, completion = _completed(prompt, completion, total, has_output=has_output)
    beside = 0 if total is None else total - prompt - completion
    if _is_cache_beside(usage, prompt, cached + written, total, beside):
        prompt += cached + written
        beside -= cached + written
    reasoning = _count(_REASONING, *of_completion, usage) or 0
    if beside > 0:
        completion += beside
    elif reasoning > completion and total is None:
        completion += reasoning
    kept_long = _count(_KEPT_LONG, *_objects(usage, _WRITTEN_DETAILS))
    if not prompt or reasoning > completion or kept_long:
        raise _UnreadableError
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=cached,
        cache_write_tokens=written,
        audio_prompt_tokens=_count(_AUDIO, *of_prompt) or 0,
        audio_completion_tokens=_count(_AUDIO, *of_completion) or 0,
        service_tier=tier,
    )


def _completed(
    prompt: int | None, completion: int | None, total: int | None, *, has_output: bool
) -> tuple[int, int]:
    """Return prompt and completion; one that is missing is what the total leaves."""
    if completion is None and not has_output:
        completion = 0
    if total is not None and (prompt is None) != (completion is None):
        rest = total - (prompt or 0) - (completion or 0)
        prompt, completion = (rest if n is None else n for n in (prompt, completion))
    if prompt is None or completion is None or min(prompt, completion) < 0:
        raise _UnreadableError
    return prompt, completion


def _is_cache_beside(
    usage: Mapping[str, Any], prompt: int, cache: int, total: int | None, beside: int
) -> bool:
    """Return whether the tokens that the cache had are not among those of the prompt."""
    if not cache or cache > prompt:
        return cache > prompt
    return any(usage.get(name) for name in _BESIDE) and (total is None or beside >= cache)


def _objects(usage: Mapping[str, Any], names: tuple[str, ...]) -> list[Mapping[str, Any]]:
    return [told for name in names if isinstance(told := usage.get(name), dict)]


def _count(names: tuple[str, ...], *places: Mapping[str, Any]) -> int | None:
    """Return the first of the named counts that is not 0; None: there is none at all."""
    found = None
    for place in places:
        for name in names:
            if name in place and (value := place[name]) is not None:
                count = _whole(value)
                found = found or count
    return found


def _whole(value: Any) -> int:
    """Return a count; a text of digits is one too."""
    if type(value) is int and 0 <= value < _NONSENSE:
        return value
    if isinstance(value, str) and len(value) <= len(str(_NONSENSE)):
        with suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _UnreadableError
    if not 0 <= value < _NONSENSE or value != int(value):
        raise _UnreadableError
    return int(value)
