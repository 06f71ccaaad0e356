"""Send a chat's parameters under the names that its model takes."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from ..core.records import RawReply, Request, canonical_json
from ..transport.base import SendFault

logger = logging.getLogger(__name__)

_CHAT = "/chat/completions"
#: Models that think before they answer.
#: Source: https://platform.openai.com/docs/guides/reasoning (read 2026-11).
_THINKING = re.compile(r"(ft:)?(o\d|gpt-[5-9])(?![a-z\d])")
#: What goes instead of a parameter that a model does not take; None: nothing.
_INSTEAD = {
    "max_tokens": "max_completion_tokens",
    "temperature": None,
    "top_p": None,
    "presence_penalty": None,
    "frequency_penalty": None,
}
_REFUSALS = (400, 422)
_CODES = frozenset({"unsupported_parameter", "unsupported_value"})
_DEEPEST = 20


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
        held = _held(sent.path, sent.body, frozenset(_named(ended.body, 0)))
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
        other = _INSTEAD[name]
        done, advice = ("left out", f"{name}=None, or no {name}")
        if other is not None:
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
    return frozenset({"max_tokens"} if _THINKING.match(model) else ())


def _held(path: str, body: bytes, names: frozenset[str]) -> frozenset[str]:
    """Return those of the parameters that a body has."""
    if path != _CHAT or not any(f'"{name}"'.encode() in body for name in names):
        return frozenset()
    return frozenset(names & json.loads(body).keys())


def _without(body: bytes, names: frozenset[str]) -> bytes:
    if not names:
        return body
    given = json.loads(body)
    renamed = {other: given[name] for name in names if (other := _INSTEAD[name]) is not None}
    return canonical_json({**renamed, **{k: v for k, v in given.items() if k not in names}})


def _named(error: Any, depth: int) -> Iterator[str]:
    """Yield the parameters that a refusal names, also where a router wraps it in its own."""
    if isinstance(error, (str, bytes)) and depth < _DEEPEST:
        try:
            opened = json.loads(error)
        except (ValueError, RecursionError):
            return
        if isinstance(opened, (dict, list)):
            yield from _named(opened, depth + 1)
    elif isinstance(error, dict) and depth < _DEEPEST:
        told = (error.get(name) for name in ("code", "type", "param"))
        words = {word for word in told if isinstance(word, str)}
        if words & _CODES:
            yield from _INSTEAD.keys() & words
        yield from _named(list(error.values()), depth + 1)
    elif isinstance(error, list) and depth < _DEEPEST:
        for inner in error:
            yield from _named(inner, depth + 1)
