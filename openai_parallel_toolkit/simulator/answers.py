"""Make up answers: extracts of the user's own words, chosen by the call's own random numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from .completion import Completion, PaidRequest
from .refusals import invalid, missing, too_long
from .schema import fit_schema
from .usage_forms import filled

#: A user's text that holds this gets finish_reason "content_filter" and no content.
CONTENT_FILTER_MARKER = "[[content_filter]]"

#: Reading more of a long prompt would cost time and change nothing that anybody looks at.
_MOST_READ_CHARACTERS = 2000
#: Three times faster than to split where a sentence ends.
_SENTENCE = re.compile(
    "[^.!?\u3002\uff01\uff1f\n]*[.!?\u3002\uff01\uff1f]|[^.!?\u3002\uff01\uff1f\n]+"
)
_SHOWN_OBJECT = re.compile(r"""\{\s*["'](\w+)["']\s*:""")
_NOTHING_ASKED = "Nothing was asked."


def token_count(text: str) -> int:
    """Return about how many tokens a text has: one for four bytes of UTF-8."""
    # JSON may hold half a surrogate pair, which has no UTF-8.
    is_ascii = text.isascii()
    size_bytes = len(text) if is_ascii else len(text.encode("utf-8", "surrogatepass"))
    return (size_bytes + 3) // 4


def cut_to_tokens(text: str, most_tokens: int) -> str:
    """Return the start of a text that has at most `most_tokens`."""
    return text.encode("utf-8", "replace")[: 4 * most_tokens].decode("utf-8", "ignore")


def positive(body: Mapping[str, Any], *names: str) -> int | None:
    """Return the first of the named numbers that the body has; Refused: it is not above 0."""
    for name in names:
        value = body.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise invalid(f"Invalid value for '{name}'.", param=name, code="invalid_value")
        return value
    return None


def required(body: Mapping[str, Any], name: str) -> Any:
    """Return what the body has under `name`, or raise Refused."""
    value = body.get(name)
    if value is None or value in ([], ""):
        raise missing(name)
    return value


def text_of(content: object) -> str:
    """Return the text of a message's content, which is a text or a list of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))


def spoken(text: str) -> list[str]:
    """Return the pieces in which a text is streamed."""
    first, *others = text.split(" ")
    return [word for word in (first, *(f" {other}" for other in others)) if word]


def complete_text(
    paid: PaidRequest,
    *,
    prompt: str,
    prompt_tokens: int,
    most_tokens: int | None,
    form: object,
    choices: int = 1,
    param: str = "messages",
) -> Completion:
    """Return a completion that answers `prompt`, in the JSON that `form` asks for, if it does.

    `param` is what the provider calls the messages when it refuses what the context cannot hold.
    """
    asked = prompt_tokens + (most_tokens or 0)
    if asked > paid.context_tokens:
        raise too_long(paid.context_tokens, asked, param)
    if CONTENT_FILTER_MARKER in prompt:
        parts, reason = [""] * choices, "content_filter"
    else:
        parts, reason = [_answer(paid, prompt, choice, form) for choice in range(choices)], "stop"
    if most_tokens is not None and any(token_count(part) > most_tokens for part in parts):
        parts, reason = [cut_to_tokens(part, most_tokens) for part in parts], "length"
    completion_tokens = sum(token_count(part) for part in parts)
    tier = paid.body.get("service_tier")
    bought = Completion(
        parts=tuple(parts),
        finish_reason=reason,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        counted_tokens=prompt_tokens + (most_tokens or completion_tokens),
        service_tier={"auto": "default"}.get(tier, tier) if isinstance(tier, str) else "",
    )
    return filled(bought, paid.usage_form)


def _answer(paid: PaidRequest, prompt: str, choice: int, form: object) -> str:
    text = _extract(prompt[:_MOST_READ_CHARACTERS], paid.number(0) + choice)
    kind = form.get("type") if isinstance(form, dict) else None
    if not isinstance(form, dict) or kind not in ("json_object", "json_schema"):
        return text
    if kind == "json_object":
        return json.dumps({_field_shown(paid): text}, ensure_ascii=False)
    # Chat wraps the schema once more than the Responses API does.
    wrapper = form.get("json_schema", form)
    schema = wrapper.get("schema") if isinstance(wrapper, dict) else None
    if not isinstance(schema, dict):
        raise missing("response_format.json_schema.schema")
    return json.dumps(fit_schema(schema, text.split(), paid.dice), ensure_ascii=False)


def _field_shown(paid: PaidRequest) -> str:
    """Return the first field of the object that the messages show, as {"content": ...} does."""
    messages = paid.body.get("messages")
    listed = messages if isinstance(messages, list) else []
    texts = (text_of(message.get("content")) for message in listed if isinstance(message, dict))
    shown = _SHOWN_OBJECT.search("\n".join(texts))
    return shown[1] if shown else "answer"


def _extract(prompt: str, number: int) -> str:
    sentences = [match[0].strip() for match in _SENTENCE.finditer(prompt)]
    sentences = [sentence for sentence in sentences if sentence]
    if not sentences:
        return _NOTHING_ASKED
    if number % 3 == 0:
        return max(sentences, key=lambda sentence: len(set(sentence.lower().split())))
    first = number % len(sentences)
    if number % 3 == 1:
        return sentences[first]
    words = prompt.split()
    return " ".join(words[: 5 + number % 20])
