"""Which fields beside a prompt are sent: those that the API takes. Pure.

Source: https://platform.openai.com/docs/api-reference (read 2026-11), and what vLLM, OpenRouter,
Mistral, Groq, DashScope and xAI take beyond it.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from typing import Any

from ...core.errors import UsageError

CHAT, RESPONSES, EMBEDDINGS = "/chat/completions", "/responses", "/embeddings"
PATHS = (CHAT, RESPONSES, EMBEDDINGS)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_OF_ALL = _names("extra_body model user")
_OF_BOTH = _names(
    "moderation parallel_tool_calls prompt_cache_key prompt_cache_options "
    "prompt_cache_retention safety_identifier service_tier store stream temperature tool_choice "
    "tools top_logprobs top_p"
)
_OF_CHAT = _names(
    "audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens "
    "max_tokens modalities n prediction presence_penalty reasoning_effort response_format seed "
    "stop verbosity web_search_options"
)
_OF_OTHER_SERVERS = _names(
    "best_of chat_template_kwargs enable_search enable_thinking guided_choice guided_grammar "
    "guided_json guided_regex ignore_eos include_reasoning length_penalty min_p min_tokens models "
    "plugins provider random_seed reasoning reasoning_format repetition_penalty safe_prompt "
    "search_parameters stop_token_ids structured_outputs thinking thinking_budget top_a top_k "
    "transforms truncate_prompt_tokens use_beam_search"
)
_OF_RESPONSES = _names(
    "access_programs background background_options context_management conversation image include "
    "instructions max_output_tokens max_tool_calls previous_response_id prompt reasoning text "
    "truncation"
)
_OF_EMBEDDINGS = _names(
    "dimensions encoding_format input_type output_dimension output_dtype truncate_prompt_tokens"
)
_KNOWN = {
    CHAT: _OF_ALL | _OF_BOTH | _OF_CHAT | _OF_OTHER_SERVERS,
    RESPONSES: _OF_ALL | _OF_BOTH | _OF_RESPONSES,
    EMBEDDINGS: _OF_ALL | _OF_EMBEDDINGS,
}
#: Names that columns of data have as well: only such a value makes a parameter of them.
_VALUES = {
    **dict.fromkeys(("background", "store", "stream"), bool),
    **dict.fromkeys(("functions", "include", "models", "plugins", "tools", "transforms"), list),
    **dict.fromkeys(
        (
            *("audio", "image", "moderation", "prediction", "prompt", "provider"),
            *("reasoning", "text", "thinking"),
        ),
        dict,
    ),
}
_INSTEAD = {
    CHAT: {"input": "prompt", "instructions": "system", "text": "response_format"},
    RESPONSES: {
        "input": "prompt", "reasoning_effort": "reasoning", "response_format": "text",
        "verbosity": "text",
    },
    EMBEDDINGS: {"input": "prompt"},
}  # fmt: skip
_LIMIT = {CHAT: "max_tokens", RESPONSES: "max_output_tokens"}
#: How alike a name and a parameter are of which one letter differs.
_ALIKE, _SHORTEST_ALIKE = 0.88, 6


def sent_fields(fields: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the fields that are sent to an API path; the others are the user's own.

    Raises:
        UsageError: a field looks like a parameter and is none here.
    """
    sent = {name: value for name, value in fields.items() if _takes(path, name, value)}
    for name in sorted(fields.keys() - sent.keys()):
        instead = _meant(name, fields[name], path)
        if instead is not None:
            advice = f"did you mean {instead}?" if instead else "take it out."
            raise UsageError(
                f"{name} is no parameter of {path}; {advice} What is your own goes into metadata, "
                "what only your server knows into extra_body"
            )
    return sent


def _takes(path: str, name: str, value: Any) -> bool:
    return name in _KNOWN[path] and isinstance(value, _VALUES.get(name, object))


def _meant(name: str, value: Any, path: str) -> str | None:
    """Return what a field should be called, "" for nothing of this API; None: it is no mistake."""
    plain = _plain(name)
    if "max" in plain and "tok" in plain:
        return _LIMIT.get(path, "")
    is_of_api = isinstance(value, _VALUES.get(name, object))
    if is_of_api and name in _INSTEAD[path]:
        return _INSTEAD[path][name]
    if any(name in known for known in _KNOWN.values()):
        return "" if is_of_api else None
    return _alike(plain, path)


@functools.lru_cache(maxsize=1024)
def _alike(plain: str, path: str) -> str | None:
    names = {_plain(known): known for known in _KNOWN[path]}
    cutoff = _ALIKE if len(plain) >= _SHORTEST_ALIKE else 1.0
    return names.get(next(iter(difflib.get_close_matches(plain, names, n=1, cutoff=cutoff)), ""))


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
