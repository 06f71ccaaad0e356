"""What an ApiQueue is given: headers that do not show themselves, and requests, counted."""

from __future__ import annotations

import asyncio
import copy
import json
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from ..calls.models import make_request
from ..calls.responses import KNOWN_PATHS
from ..core.errors import ToolkitError, UsageError
from ..core.loop_calls import LoopCalls
from ..core.records import Request
from ..core.redaction import Secret
from ..costs.tokens import num_tokens_from_string

#: What counting may take, a vocabulary's download included; then the estimates stand.
_COUNTING_S = 30.0

#: These headers are no secret, and a shorter word stands in too many texts to mask it.
_PLAIN_HEADERS = frozenset({"accept", "content-type", "user-agent"})
_SHORTEST_SECRET = 8


class MaskedHeaders(dict[str, str]):
    """Headers whose values do not show themselves."""

    def __repr__(self) -> str:
        return repr({name: f"[{name}]" for name in self})

    def secrets(self) -> list[Secret]:
        """Return what must be masked in texts, without the "Bearer" before it."""
        return [
            Secret(word, name)
            for name, value in self.items()
            for word in value.split()
            if name.lower() not in _PLAIN_HEADERS and len(word) >= _SHORTEST_SECRET
        ]


class ReadyRequests:
    """Ready-made bodies for one URL as requests, none of them larger than a limit."""

    def __init__(self, url: str, bodies: Sequence[Mapping[str, Any]], most_tokens: float) -> None:
        """Freeze them; UsageError: one is larger than `most_tokens`, or cannot be sent as JSON."""
        path = urlsplit(url).path.rstrip("/")
        #: By which API's rules the answers are read; a chat's where the URL names none.
        self.path = next((end for end in KNOWN_PATHS if path.endswith(end)), "/chat/completions")
        self._bodies = list(bodies)
        self._most_tokens = most_tokens
        self._is_counted = False
        self._requests = [
            make_request(self.path, str(body.get("model", "")), dict(body)) for body in bodies
        ]
        for n, request in enumerate(self._requests):
            if request.prompt_tokens > most_tokens:  # as far as its bytes tell
                self._requests[n] = self._fitting(n, _counted(request, self._bodies[n]))

    def __len__(self) -> int:
        return len(self._requests)

    def __getitem__(self, position: int) -> Request:
        return self._requests[position]

    async def count(self, due: Collection[int]) -> None:
        """Have the tokens of those that are due counted, once, without holding up the event loop.

        Those that are no more due by then keep their estimates.
        """
        if self._is_counted or not due:
            return
        self._is_counted = True
        positions = list(due)
        future, settle = LoopCalls(asyncio.get_running_loop()).future()
        asked = [(self._requests[n], self._bodies[n]) for n in positions]

        def count() -> None:
            settle([_counted(*one) for one in asked])

        threading.Thread(target=count, name="count tokens", daemon=True).start()
        try:
            counted = await asyncio.wait_for(future, _COUNTING_S)
        except asyncio.TimeoutError:
            return
        still_due = set(due)
        for n, request in zip(positions, counted, strict=True):
            if n in still_due:
                self._requests[n] = self._fitting(n, request)

    def empty_answer(self) -> dict[str, Any]:
        """Return what stands in for an error that is ignored."""
        return copy.deepcopy(dict(_EMPTY[self.path]))

    def _fitting(self, position: int, request: Request) -> Request:
        if request.prompt_tokens > self._most_tokens:
            raise UsageError(
                f"request {position} has about {request.prompt_tokens:,} tokens, more than a "
                f"minute's rate_limit of {self._most_tokens:,.0f}; shorten it or raise rate_limit",
                position=position,
            )
        return request


#: What stands in for an error that is ignored, by the end of the URL's path.
_EMPTY: Mapping[str, Mapping[str, Any]] = {
    "/chat/completions": {
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": ""},
                "finish_reason": "content_filter",
            }
        ],
    },
    "/completions": {
        "object": "text_completion",
        "choices": [{"index": 0, "text": "", "finish_reason": "content_filter"}],
    },
    "/embeddings": {"object": "list", "data": []},
    "/moderations": {"results": []},
    "/responses": {"object": "response", "status": "incomplete", "output": []},
}


def _counted(request: Request, body: Mapping[str, Any]) -> Request:
    """Return a request with its tokens counted, or as it is where that cannot be done."""
    if request.media is not None:  # base64 is no text
        return request
    try:
        text = json.dumps(body, ensure_ascii=False)
        return replace(request, prompt_tokens=num_tokens_from_string(text, request.model))
    except (ToolkitError, ImportError):
        return request
