"""How different providers bill a completion and tell in their reply what was used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .completion import Completion


@dataclass(frozen=True, slots=True)
class UsageForm:
    """What is billed besides plain tokens, and the fields of the reply that tell all of it."""

    told: Callable[[Completion], dict[str, Any]]
    reasons: bool = False
    caches: bool = False
    speaks: bool = False


def filled(completion: Completion, form: str) -> Completion:
    """Return a completion with what a provider of this form bills for it."""
    kind, prompt, output = USAGE_FORMS[form], completion.prompt_tokens, completion.completion_tokens
    return replace(
        completion,
        completion_tokens=output + kind.reasons * 3 * output,
        reasoning_tokens=kind.reasons * 3 * output,
        cached_tokens=kind.caches * (prompt // 2),
        cache_write_tokens=kind.caches * (prompt // 4),
        audio_prompt_tokens=kind.speaks * (prompt // 3),
        audio_completion_tokens=kind.speaks * (output // 2),
    )


def told(
    completion: Completion,
    form: str,
    usual: Callable[[Completion], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return the fields of a reply that tell usage and tier; `usual`: an endpoint's own form."""
    tell = usual if usual is not None and form == "openai" else USAGE_FORMS[form].told
    tier = {"service_tier": completion.service_tier} if completion.service_tier else {}
    return {**tell(completion), **tier}


def _openai(bought: Completion) -> dict[str, Any]:
    usage = {
        "prompt_tokens": bought.prompt_tokens,
        "completion_tokens": bought.completion_tokens,
        "total_tokens": bought.prompt_tokens + bought.completion_tokens,
        "prompt_tokens_details": {
            "cached_tokens": bought.cached_tokens,
            "cache_write_tokens": bought.cache_write_tokens,
            "audio_tokens": bought.audio_prompt_tokens,
        },
        "completion_tokens_details": {
            "reasoning_tokens": bought.reasoning_tokens,
            "audio_tokens": bought.audio_completion_tokens,
        },
    }
    return {"usage": usage}


def _beside(bought: Completion) -> dict[str, Any]:
    usage = _openai(bought)["usage"]
    return {"usage": {**usage, "completion_tokens": _visible(bought)}}


def _deepseek(bought: Completion) -> dict[str, Any]:
    cached = bought.cached_tokens
    split = {
        "prompt_cache_hit_tokens": cached,
        "prompt_cache_miss_tokens": bought.prompt_tokens - cached,
        "cache_creation_tokens": bought.cache_write_tokens,
    }
    return {"usage": {**_plain(bought), **split}}


def _moonshot(bought: Completion) -> dict[str, Any]:
    split = {
        "cached_tokens": bought.cached_tokens,
        "cache_write_tokens": bought.cache_write_tokens,
    }
    return {"usage": {**_plain(bought), **split}}


def _anthropic(bought: Completion) -> dict[str, Any]:
    cache = bought.cached_tokens + bought.cache_write_tokens
    usage = {
        "input_tokens": bought.prompt_tokens - cache,
        "cache_read_input_tokens": bought.cached_tokens,
        "cache_creation_input_tokens": bought.cache_write_tokens,
        "output_tokens": bought.completion_tokens,
    }
    return {"usage": usage}


def _gemini(bought: Completion) -> dict[str, Any]:
    usage = {
        "promptTokenCount": bought.prompt_tokens,
        "candidatesTokenCount": _visible(bought),
        "thoughtsTokenCount": bought.reasoning_tokens,
        "totalTokenCount": bought.prompt_tokens + bought.completion_tokens,
    }
    return {"usageMetadata": usage}


def _plain(bought: Completion) -> dict[str, Any]:
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    usage = _openai(bought)["usage"]
    return {name: usage[name] for name in names}


def _visible(bought: Completion) -> int:
    return bought.completion_tokens - bought.reasoning_tokens


def _as(kind: Callable[[int], object]) -> Callable[[Completion], dict[str, Any]]:
    return lambda bought: {"usage": {name: kind(n) for name, n in _plain(bought).items()}}


#: The forms by name; the last ones tell nothing that is of use.
USAGE_FORMS: Mapping[str, UsageForm] = {
    "openai": UsageForm(_openai),
    "reasoning_inside": UsageForm(_openai, reasons=True),
    "reasoning_beside": UsageForm(_beside, reasons=True),
    "cache_in_details": UsageForm(_openai, caches=True),
    "deepseek": UsageForm(_deepseek, caches=True),
    "moonshot": UsageForm(_moonshot, caches=True),
    "anthropic": UsageForm(_anthropic, caches=True),
    "gemini": UsageForm(_gemini, reasons=True),
    "audio": UsageForm(_openai, speaks=True),
    "texts": UsageForm(_as(str)),
    "floats": UsageForm(_as(float)),
    "null": UsageForm(lambda _: {"usage": None}),
    "empty": UsageForm(lambda _: {"usage": {}}),
    "missing": UsageForm(lambda _: {}),
    "zeros": UsageForm(_as(lambda _: 0)),
    "nonsense": UsageForm(_as(lambda n: -n)),
}
