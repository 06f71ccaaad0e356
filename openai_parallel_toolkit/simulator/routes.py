"""The table of what is served where."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .drafts import Generator
from .endpoints.chat import ChatCompletions
from .endpoints.embeddings import Embeddings
from .endpoints.models import list_models
from .endpoints.responses import Responses
from .http1 import Reply
from .keys import SimKey
from .refusals import Refused, unknown_url, wrong_method

#: Answers a request from the key alone and costs nothing.
Lookup = Callable[[SimKey], Reply]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What serves a request."""

    target: Generator | Lookup
    #: What stood in the place of `{deployment}`; None: not one of Azure's paths.
    deployment: str | None


class Router:
    """Finds what serves a request.

    A table's keys are a method and a path, in which `{deployment}` stands for one segment.
    """

    def __init__(self, table: Mapping[tuple[str, str], Generator | Lookup]) -> None:
        self._exact = {key: target for key, target in table.items() if "{" not in key[1]}
        self._patterns = [
            (method, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)), target)
            for (method, path), target in table.items()
            if "{" in path
        ]

    def find(self, method: str, path: str) -> Found:
        """Return what serves `method` at `path`.

        Raises:
            Refused: nothing does.
        """
        target = self._exact.get((method, path))
        if target is not None:
            return Found(target=target, deployment=None)
        allowed = [known for known, exact in self._exact if exact == path]
        for known, pattern, target in self._patterns:
            match = pattern.fullmatch(path)
            if match and known == method:
                return Found(target=target, deployment=match["deployment"])
            if match:
                allowed.append(known)
        if allowed:
            raise Refused(wrong_method(allowed))
        raise Refused(unknown_url(method, path))


def openai_routes() -> Router:
    """Return the table of OpenAI's and Azure's paths."""
    chat, embeddings = ChatCompletions(), Embeddings()
    return Router(
        {
            ("POST", "/v1/chat/completions"): chat,
            ("POST", "/v1/embeddings"): embeddings,
            ("POST", "/v1/responses"): Responses(),
            ("GET", "/v1/models"): list_models,
            ("POST", "/openai/deployments/{deployment}/chat/completions"): chat,
            ("POST", "/openai/deployments/{deployment}/embeddings"): embeddings,
        }
    )
