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

from ..core.errors import UsageError
from ..core.records import Reply, Request, canonical_json
from ..costs.media import media_of
from ..costs.tokens import DEFAULT_REPLY_TOKENS, estimate_tokens
from .structured import embedding, form_of, whole_text


class OpenAIModel(ABC):
    """Base for a model that you call yourself: implement `generate`.

    `generate(self)` may call `openai.chat.completions.create(...)`; `generate(self, client)` gets a
    ready `openai` client instead. Each request in it is sent under one of the toolkit's keys, kept,
    and replayed on a rerun. It may return what openai returned, which is read as the answer of a
    built-in model is; all else is handed on as it is, a text stripped.
    """

    @abstractmethod
    def generate(self, *args: Any) -> Any:
        """Ask the model and return its answer; raise what the openai package raises."""


class PayloadModel(OpenAIModel):
    """Base for a model that only says what to send: implement `path` and `payload`."""

    #: API path below the base URL.
    path: str

    @abstractmethod
    def payload(self) -> dict[str, Any]:
        """Return the JSON body of the request, `model` included."""

    def generate(self, *args: Any) -> Any:
        """Not used, unless a class of yours has its own: the toolkit sends what `payload` tells."""
        del args
        raise UsageError(f"pass {type(self).__name__} to request_openai_api, which sends it")

    def _read(self, reply: Reply, *, allow_incomplete: bool) -> Any:
        """Return what a reply gives to who asked; raise IncompleteAnswer or InvalidAnswer."""
        return whole_text(reply, allow_incomplete=allow_incomplete)


class _TextModel(PayloadModel):
    """Base for models whose answer is a text, or JSON where `response_format` says so."""

    def __init__(self, model: str, response_format: Any, parameters: Mapping[str, Any]) -> None:
        self.model = model
        self.parameters = {k: v for k, v in parameters.items() if v is not None}
        self._form = None if response_format is None else form_of(response_format)

    def _read(self, reply: Reply, *, allow_incomplete: bool) -> Any:
        if self._form is not None:
            return self._form.read(reply)
        return super()._read(reply, allow_incomplete=allow_incomplete)


class ChatModel(_TextModel):
    """A chat completion: `ChatModel("gpt-4o-mini", content="...", prompt="be brief")`.

    Args:
        model: name of the model, or of what the deployment serves.
        messages: the whole conversation; or leave it out and give `content`.
        content: the user's message: a text, or a list of parts (text, images, ...).
        prompt: the system message; "" leaves it out.
        response_format: a pydantic class: `request_openai_api` returns an object of it; a dict as
            the API has it (a JSON schema, or json_object): it returns the parsed JSON; None: text.
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
        response_format: Any = None,
        **parameters: Any,
    ) -> None:
        if (messages is None) == (content is None):
            raise UsageError(f"{type(self).__name__}: give either messages or content")
        super().__init__(model, response_format, parameters)
        self.messages = list(messages) if messages is not None else _messages(content, prompt)
        if self._form is not None:
            self.parameters["response_format"] = self._form.parameter
        elif response_format is not None:
            self.parameters["response_format"] = response_format

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
        self.content, self.prompt, self.temperature = content, prompt, temperature


class ResponsesModel(_TextModel):
    """A call of the Responses API: `ResponsesModel("gpt-4o-mini", "hello", instructions="...")`.

    Args:
        model: name of the model, or of what the deployment serves.
        input: a text, or a list of input items; or leave it out and give `content`.
        content: another name for `input`, as `multi_process_one` gives it.
        prompt: a text is another name for `instructions`, "" leaves them out; a dict, the API's
            reference to a stored prompt, is passed through.
        response_format: as for ChatModel; sent as `text.format`.
        parameters: passed through as they are: instructions, max_output_tokens, tools, ...
            None leaves a parameter out.
    """

    path = "/responses"

    def __init__(
        self,
        model: str,
        input: str | Sequence[Mapping[str, Any]] | None = None,
        *,
        content: str | Sequence[Mapping[str, Any]] | None = None,
        prompt: str | Mapping[str, Any] = "",
        response_format: Any = None,
        **parameters: Any,
    ) -> None:
        if prompt:
            name = "instructions" if isinstance(prompt, str) else "prompt"
            if parameters.get(name) is not None:
                raise UsageError("ResponsesModel: give either prompt or instructions")
            parameters[name] = prompt
        super().__init__(model, response_format, parameters)
        self.input = _one_input(self, input, content)
        if self._form is not None:
            text = self.parameters.get("text", {})
            self.parameters["text"] = {**text, **self._form.text_parameter}

    def payload(self) -> dict[str, Any]:
        return {"model": self.model, "input": self.input, **self.parameters}


class EmbeddingModel(PayloadModel):
    """An embedding: `EmbeddingModel("text-embedding-3-small", "some text")`.

    `request_openai_api` returns the vector, or the list of vectors when `input` is a list of texts.

    Args:
        model: name of the model, or of what the deployment serves.
        input: a text, or a list of texts; also as lists of token numbers; or leave it out and
            give `content`.
        content: another name for `input`, as `multi_process_one` gives it.
        prompt: always ""; embeddings know no prompt, so write it into the text.
        parameters: passed through as they are: dimensions, encoding_format, ...
            None leaves a parameter out.
    """

    path = "/embeddings"

    def __init__(
        self,
        model: str,
        input: str | Sequence[Any] | None = None,
        *,
        content: str | Sequence[Any] | None = None,
        prompt: str = "",
        **parameters: Any,
    ) -> None:
        if prompt:
            raise UsageError('an embedding has no prompt: give ("", text), with all of it in text')
        self.model = model
        self.input = _one_input(self, input, content)
        self.parameters = {k: v for k, v in parameters.items() if v is not None}

    def payload(self) -> dict[str, Any]:
        return {"model": self.model, "input": self.input, **self.parameters}

    def _read(self, reply: Reply, *, allow_incomplete: bool) -> Any:
        del allow_incomplete
        return embedding(reply, self.input)


def _one_input(model: PayloadModel, input: Any, content: Any) -> Any:
    if (input is None) == (content is None):
        raise UsageError(f"{type(model).__name__}: give either input or content")
    return content if input is None else input


def request_of(model: PayloadModel) -> Request:
    """Return the frozen request that a model describes; raises UsageError if it cannot be sent."""
    payload = model.payload()
    name = payload.get("model") if isinstance(payload, dict) else None
    if not isinstance(name, str) or not name:
        raise UsageError(
            f"{type(model).__name__}.payload() must be a dict with a model name; "
            f"its model is of type {type(name).__name__}"
        )
    if payload.get("stream"):
        raise UsageError("leave stream out: an answer is handed on when it is whole")
    return make_request(model.path, name, payload)


_REPLY_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
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
    fields = payload if isinstance(payload, dict) else {}
    digest, former, limit = _digest(path, model, body), "", None
    if not fields.keys().isdisjoint(_REPLY_LIMITS):
        others = {name: value for name, value in fields.items() if name not in _REPLY_LIMITS}
        digest, former = _digest(path, model, canonical_json(others)), digest
        limits = (fields.get(name) for name in _REPLY_LIMITS)
        limit = next((value for value in limits if isinstance(value, int) and value > 0), None)
    limit = 0 if path == "/embeddings" else limit
    media = media_of(fields, model)
    choices, tier, modalities = (fields.get(n) for n in ("n", "service_tier", "modalities"))
    choices = choices if isinstance(choices, int) and choices > 1 else 1
    return Request(
        path=path,
        model=model,
        body=body,
        hash=digest,
        former_hash=former,
        prompt_tokens=estimate_tokens(len(body), media),
        reply_tokens=(DEFAULT_REPLY_TOKENS if limit is None else limit) * choices,
        reply_limit_tokens=limit,
        choices=choices,
        media=media,
        service_tier=tier.lower() if isinstance(tier, str) else "",
        wants_audio=isinstance(modalities, list) and "audio" in modalities,
    )


def _digest(path: str, model: str, body: bytes) -> str:
    return hashlib.sha256(b"%b\n%b\n%b" % (path.encode(), model.encode(), body)).hexdigest()


def wants_client(model: OpenAIModel) -> bool:
    """Return whether a user's `generate` asks for a client as its argument."""
    return bool(inspect.signature(model.generate).parameters)
