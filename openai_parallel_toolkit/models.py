"""Describe what is asked of a model; the toolkit does the sending.

A `PayloadModel` only describes a request. An `OpenAIModel` of the user's own sends by itself, in
`generate`, under a key that the toolkit lends it.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import UsageError
from .records import Request, canonical_json
from .tokens import DEFAULT_REPLY_TOKENS, estimate_tokens


class OpenAIModel(ABC):
    """Base for a model that you call yourself: implement `generate`.

    `generate(self)` may call `openai.chat.completions.create(...)`; it is sent under the key that
    was lent to this call. `generate(self, client)` gets a ready `openai` client instead. What it
    returns must be JSON (text, numbers, lists, dicts): it is journaled and replayed on a rerun.
    """

    @abstractmethod
    def generate(self, *args: Any) -> Any:
        """Ask the model once and return its answer; raise what the openai package raises."""

    def call_key(self) -> Any:
        """Return what identifies this call, as JSON: equal keys share a journaled answer.

        The default is the class's name and the public fields of the instance.
        """
        fields = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return {"class": type(self).__qualname__, "fields": fields}


class PayloadModel(OpenAIModel):
    """Base for a model that only says what to send: implement `path` and `payload`."""

    #: API path below the base URL.
    path: str

    @abstractmethod
    def payload(self) -> dict[str, Any]:
        """Return the JSON body of the request, `model` included."""

    def generate(self, *args: Any) -> Any:
        """Not used: the toolkit sends what `payload` describes."""
        del args
        raise UsageError(f"pass {type(self).__name__} to request_openai_api, which sends it")


class ChatModel(PayloadModel):
    """A chat completion: `ChatModel("gpt-4o-mini", content="...", prompt="be brief")`.

    Args:
        model: name of the model, or of what the deployment serves.
        messages: the whole conversation; or leave it out and give `content`.
        content: the user's message.
        prompt: the system message; "" leaves it out.
        parameters: passed through as they are: temperature, max_tokens, tools, n, ...
            None leaves a parameter out.
    """

    path = "/chat/completions"

    def __init__(
        self,
        model: str,
        messages: Sequence[Mapping[str, Any]] | None = None,
        *,
        content: Any = None,
        prompt: str = "",
        **parameters: Any,
    ) -> None:
        if (messages is None) == (content is None):
            raise UsageError(f"{type(self).__name__}: give either messages or content")
        self.model = model
        self.messages = list(messages) if messages is not None else _messages(content, prompt)
        self.parameters = {k: v for k, v in parameters.items() if v is not None}

    def payload(self) -> dict[str, Any]:
        return {"model": self.model, "messages": self.messages, **self.parameters}


def _messages(content: Any, prompt: str) -> list[Mapping[str, Any]]:
    system = [{"role": "system", "content": prompt}] if prompt else []
    return [*system, {"role": "user", "content": content}]


class Gpt35Turbo(ChatModel):
    """A chat completion by gpt-3.5-turbo: `Gpt35Turbo(content="...", prompt="be brief")`."""

    def __init__(
        self,
        content: str,
        prompt: str = "",
        temperature: float = 0.7,
        model: str = "gpt-3.5-turbo",
        **parameters: Any,
    ) -> None:
        super().__init__(
            model, content=content, prompt=prompt, temperature=temperature, **parameters
        )


def request_of(model: OpenAIModel) -> Request:
    """Return the frozen request that a model describes, with its identity.

    Raises:
        UsageError: the payload is not JSON, or holds a text that cannot be sent.
    """
    if isinstance(model, PayloadModel):
        path, payload = model.path, model.payload()
        name = payload.get("model") if isinstance(payload, dict) else None
        if not isinstance(name, str) or not name:
            raise UsageError(f"{type(model).__name__}.payload() must be a dict with a model name")
    else:
        path, payload = f"generate:{type(model).__qualname__}", model.call_key()
        name = str(getattr(model, "model", "")) or type(model).__qualname__
    return make_request(path, name, payload)


#: An escaped NUL, and not a backslash of the text's own before "u0000".
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def make_request(path: str, model: str, payload: Any) -> Request:
    """Freeze a payload into a Request; see `request_of`."""
    try:
        body = canonical_json(payload)
    except UnicodeEncodeError as exc:
        raise UsageError(
            f"the request holds half a character (U+{ord(exc.object[exc.start]):04X}) at position "
            f"{exc.start} of its JSON; read the file with errors='replace' or another encoding"
        ) from None
    except (TypeError, ValueError) as exc:
        raise UsageError(f"the request cannot be written as JSON: {exc}") from exc
    if b"\\u0000" in body and _NUL.search(body):
        raise UsageError("the request holds a NUL character; remove it before asking")
    digest = hashlib.sha256(f"{path}\n{model}\n".encode())
    digest.update(body)
    return Request(
        path=path,
        model=model,
        body=body,
        hash=digest.hexdigest(),
        prompt_tokens=estimate_tokens(body),
        reply_tokens=0 if path == "/embeddings" else _reply_tokens(payload),
    )


def _reply_tokens(payload: Any) -> int:
    if not isinstance(payload, dict):
        return DEFAULT_REPLY_TOKENS
    limits = (payload.get(name) for name in _REPLY_LIMITS)
    limit = next((v for v in limits if isinstance(v, int) and v > 0), DEFAULT_REPLY_TOKENS)
    choices = payload.get("n")
    return limit * (choices if isinstance(choices, int) and choices > 1 else 1)


_REPLY_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")


def wants_client(model: OpenAIModel) -> bool:
    """Return whether a user's `generate` asks for a client as its argument."""
    return bool(inspect.signature(model.generate).parameters)
