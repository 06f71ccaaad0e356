"""Send a request's parameters as its model takes them."""

from __future__ import annotations

import contextlib
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from ..core.records import RawReply, Request, canonical_json
from ..transport.base import SendFault

logger = logging.getLogger(__name__)

#: Models that think before they answer.
#: Source: https://platform.openai.com/docs/guides/reasoning (read 2026-11).
_THINKING = re.compile(r"(ft:)?(o\d|gpt-[5-9])(?![a-z\d])")
_LIMIT, _LIMIT_OF_THINKING = "max_tokens", "max_completion_tokens"
#: How a model is to choose its words: left out where it does as it likes.
_CHOICE = frozenset({"temperature", "top_p", "presence_penalty", "frequency_penalty"})
#: What may be changed, by API path.
_CHANGEABLE = {"/chat/completions": _CHOICE | {_LIMIT}, "/responses": _CHOICE}
_REFUSALS = (400, 422)
_CODES = frozenset({"unsupported_parameter", "unsupported_value"})
_DEEPEST = 20
_DECODER = json.JSONDecoder()


def fitted_body(path: str, body: bytes, model: str) -> bytes:
    """Return the body of a request to a model without what it is known not to take."""
    return _without(body, _held(path, body, _known(model)))


@dataclass(eq=False)
class ModelParameters:
    """Which parameters models were found not to take; used on one event loop alone."""

    #: By the address that was asked, and the model.
    _refused: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    _told: set[tuple[str, str]] = field(default_factory=set)

    def fitted(self, request: Request, api_base: str) -> Request:
        """Return what is sent for a request; it stands for the same call."""
        held = _held(request.path, request.body, self._of(request, api_base))
        for name in held:
            self._tell(request.model, name)
        return replace(request, body=_without(request.body, held)) if held else request

    def learn(self, sent: Request, api_base: str, ended: RawReply | SendFault) -> bool:
        """Take in how a request ended; return whether it is worth another try as `fitted`."""
        if not isinstance(ended, RawReply) or ended.status not in _REFUSALS:
            return False
        held = _held(
            sent.path, sent.body, frozenset(_named(ended.body.decode(errors="replace"), 0))
        )
        if held:
            self._refused[api_base, sent.model] = self._of(sent, api_base) | held
        return bool(held)

    def _of(self, request: Request, api_base: str) -> frozenset[str]:
        refused = self._refused.get((api_base, request.model))
        return _known(request.model) if refused is None else refused

    def _tell(self, model: str, name: str) -> None:
        if (model, name) in self._told:
            return
        self._told.add((model, name))
        done, advice = "left out", f"{name}=None, or no {name}"
        if name == _LIMIT:
            other = _LIMIT_OF_THINKING
            done, advice = f"sent as {other}", f"{other} (prompts: --param {other}=N)"
        logger.warning(
            "%s takes no %s: it is %s; write %s",
            model,
            name,
            done,
            advice,
            extra={"action": "parameter_changed"},
        )


def _known(model: str) -> frozenset[str]:
    return frozenset({_LIMIT} if _THINKING.match(model) else ())


def _held(path: str, body: bytes, names: frozenset[str]) -> frozenset[str]:
    """Return those of the parameters that a body has and that may be changed."""
    names &= _CHANGEABLE.get(path, frozenset())
    if not any(f'"{name}"'.encode() in body for name in names):
        return frozenset()
    return frozenset(names & json.loads(body).keys())


def _without(body: bytes, names: frozenset[str]) -> bytes:
    if not names:
        return body
    given = json.loads(body)
    renamed = {_LIMIT_OF_THINKING: given[_LIMIT]} if _LIMIT in names else {}
    return canonical_json({**renamed, **{k: v for k, v in given.items() if k not in names}})


def _named(error: Any, depth: int) -> Iterator[str]:
    """Yield the parameters that a refusal names, also where a router wraps it in its own."""
    if depth == _DEEPEST:
        return
    if isinstance(error, str):
        with contextlib.suppress(ValueError, RecursionError):
            opened, _ = _DECODER.raw_decode(error, max(error.find("{"), 0))
            yield from _named(None if isinstance(opened, str) else opened, depth + 1)
    elif isinstance(error, list):
        for inner in error:
            yield from _named(inner, depth + 1)
    elif isinstance(error, dict):
        code, kind, param = (error.get(name) for name in ("code", "type", "param"))
        is_said = any(isinstance(word, str) and word in _CODES for word in (code, kind))
        if isinstance(param, str) and (is_said or (param in _CHOICE and code is None)):
            yield param  # of these the Responses API has no code
        yield from _named(list(error.values()), depth + 1)
