"""One prompt of an APIRequester's list: what is asked, and what its answer gives."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ..calls.models import ChatModel
from ..calls.responses import is_worth_keeping
from ..calls.structured import json_part, whole_text
from ..core.errors import InvalidAnswer
from ..core.records import Reply

MOST_JSON_ANSWERS = 3
#: How a prompt shows an object whose one field is the answer: {"content": ...}, in either quotes.
_CONTENT_FORM = re.compile(
    r"""\{\s*(["'])content\1\s*:\s*("[^"]*"|'[^']*'|[^,{}]*)\s*\}""", re.IGNORECASE
)

Messages = Sequence[Mapping[str, Any]]
JsonOutput = bool | Literal["content"] | None


class Prompt(ChatModel):
    """One prompt of a list; of an answer that was cut, what came is taken."""

    def __init__(
        self,
        model: str,
        messages: Messages,
        json_output: JsonOutput,
        parameters: Mapping[str, Any],
    ) -> None:
        """`json_output` is as for APIRequester; a response_format of the parameters wins."""
        self._json = json_output
        form: dict[str, Any] = {}
        if self._json is None and _asks_for_content(messages):
            self._json, form = "content", {"response_format": {"type": "json_object"}}
        super().__init__(model, messages, **{**form, **parameters})

    def _read(self, reply: Reply, *, allow_incomplete: bool) -> Any:
        text = whole_text(reply, allow_incomplete=allow_incomplete or is_worth_keeping(reply))
        if not self._json:
            return text
        try:
            value = json.loads(json_part(text))
            return value["content"] if self._json == "content" else value
        except (ValueError, RecursionError, LookupError, TypeError) as exc:
            wanted = 'JSON with the field "content"' if self._json == "content" else "JSON"
            raise InvalidAnswer(
                f"no answer of {MOST_JSON_ANSWERS} was {wanted}; ask for it in the prompt, or "
                'give response_format={"type": "json_object"}',
                text=text,
                reason=f"{type(exc).__name__}: {exc}",
                attempts=MOST_JSON_ANSWERS,
            ) from exc


def last_user_text(messages: Messages) -> str:
    """Return the text of the last message of the user; "" when there is none."""
    said = [message.get("content") for message in messages if message.get("role") == "user"]
    content = said[-1] if said else ""
    parts = content if isinstance(content, list) else [{"text": content}]
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))


def _asks_for_content(messages: Messages) -> bool:
    """Tell whether the system prompt asks for JSON of the form {"content": ...} and no other."""
    said = [m.get("content") for m in messages if m.get("role") in {"system", "developer"}]
    text = "\n".join(content for content in said if isinstance(content, str))
    return "json" in text.lower() and _CONTENT_FORM.search(text) is not None
