"""Know the parameters that the API has, and refuse others in its words.

Other servers with OpenAI's API know more of them, such as vLLM: name those when one is simulated.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from .refusals import Refused, invalid

#: Stands for any parameter.
ANY = "*"
#: By the end of the path; a longer one comes first. Source: the API reference as the openai package
#: 3.57 has it, https://github.com/openai/openai-python/tree/main/src/openai/types (read 2026-11).
KNOWN_PARAMETERS: Mapping[str, frozenset[str]] = {
    path: frozenset(names.split())
    for path, names in {
        "/chat/completions": """
            audio frequency_penalty function_call functions logit_bias logprobs
            max_completion_tokens max_tokens messages metadata modalities model moderation n
            parallel_tool_calls prediction presence_penalty prompt_cache_key prompt_cache_options
            prompt_cache_retention reasoning_effort response_format safety_identifier seed
            service_tier stop store stream stream_options temperature tool_choice tools
            top_logprobs top_p user verbosity web_search_options
        """,
        "/responses": """
            access_programs background background_options context_management conversation include
            input instructions max_output_tokens max_tool_calls metadata model moderation
            parallel_tool_calls previous_response_id prompt prompt_cache_key prompt_cache_options
            prompt_cache_retention reasoning safety_identifier service_tier store stream
            stream_options temperature text tool_choice tools top_logprobs top_p truncation user
        """,
        "/completions": """
            best_of echo frequency_penalty logit_bias logprobs max_tokens model n presence_penalty
            prompt seed stop stream stream_options suffix temperature top_p user
        """,
        "/embeddings": "dimensions encoding_format input model user",
        "/moderations": "input model",
    }.items()
}
#: Where one is refused by its name; elsewhere all are listed. Source: replies in
#: https://github.com/davidmigloz/langchain_dart/issues/712 and
#: https://github.com/1jehuang/jcode/issues/1028 (read 2026-11).
_NAMES_ONE = ("/responses",)


def unknown_parameters(
    path: str, fields: Mapping[str, Any], extra: Collection[str]
) -> Refused | None:
    """Return the refusal of a body whose path does not know all of its fields; None: it does.

    Args:
        extra: names that are taken as well; "*": any.
    """
    end = next((end for end in KNOWN_PARAMETERS if path.endswith(end)), None)
    if end is None or ANY in extra:
        return None
    unknown = [name for name in fields if name not in KNOWN_PARAMETERS[end] and name not in extra]
    if not unknown:
        return None
    if end in _NAMES_ONE:
        told = f"Unknown parameter: '{unknown[0]}'."
        return invalid(told, param=unknown[0], code="unknown_parameter")
    plural = "s" if len(unknown) > 1 else ""
    return invalid(f"Unrecognized request argument{plural} supplied: {', '.join(unknown)}")
