"""Send a request's parameters as its model takes them."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..core.logs import logger_of
from ..core.records import canonical_json

logger = logger_of(__name__)

#: Models that think before they answer.
#: Source: https://platform.openai.com/docs/guides/reasoning (read 2026-11).
_THINKING = re.compile(r"(ft:)?(o\d|gpt-[5-9])(?![a-z\d])")
_LIMIT, _LIMIT_OF_THINKING = "max_tokens", "max_completion_tokens"
#: How a model is to choose its words: left out where it does as it likes.
_CHOICE = frozenset({"temperature", "top_p", "presence_penalty", "frequency_penalty"})
#: What may be changed, by API path.
_CHANGEABLE = {"/chat/completions": _CHOICE | {_LIMIT}, "/responses": _CHOICE}
_CODES = frozenset({"unsupported_parameter", "unsupported_value"})
_DEEPEST = 20
_DECODER = json.JSONDecoder()


@dataclass(eq=False)
class ModelParameters:
    """Which parameters models were found not to take, at each address; not for threads to share."""

    _refused: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    _told: set[tuple[str, str]] = field(default_factory=set)

    def fitted(self, path: str, model: str, body: bytes, api_base: str = "") -> bytes:
        """Return what is sent for the body of a request; it stands for the same call."""
        refused = self._of(model, api_base) & _CHANGEABLE.get(path, frozenset())
        if not refused or not any(f'"{name}"'.encode() in body for name in refused):
            return body
        given = json.loads(body)
        kept = {name: value for name, value in given.items() if name not in refused}
        if _LIMIT in given.keys() & refused:
            kept.setdefault(_LIMIT_OF_THINKING, given[_LIMIT])
        for name in sorted(given.keys() & refused):
            self._tell(model, name)
        return body if kept == given else canonical_json(kept)

    def learn(self, path: str, model: str, refusal: bytes, api_base: str = "") -> bool:
        """Take in what a refusal names; return whether that may go another way, as `fitted`."""
        named = frozenset(_named(refusal.decode(errors="replace"), 0))
        named &= _CHANGEABLE.get(path, frozenset())
        if named:
            self._refused[api_base, model] = self._of(model, api_base) | named
        return bool(named)

    def _of(self, model: str, api_base: str) -> frozenset[str]:
        refused = self._refused.get((api_base, model))
        return _known(model) if refused is None else refused

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
