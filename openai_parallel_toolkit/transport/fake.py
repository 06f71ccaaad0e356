"""Answer requests without a network, for tests of hooks and of the package itself."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from ..core.records import Lease, RawReply, Request
from .base import SendFault

#: What a handler may answer: a reply, a fault to raise, or the text of a good chat completion.
Answer: TypeAlias = RawReply | SendFault | str
Handler: TypeAlias = Callable[[Request, Lease], Answer | Awaitable[Answer]]


class FakeTransport:
    """A Transport that asks a function for its replies and remembers what was sent.

    `FakeTransport(lambda request, lease: "yes")` answers every chat with "yes".
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        #: Each request with the name of its key, in the order of sending.
        self.sent: list[tuple[Request, str]] = []
        self.is_closed = False

    async def send(self, request: Request, lease: Lease, *, timeout_s: float) -> RawReply:
        """Send as `Transport.send` says; `timeout_s` is not kept."""
        del timeout_s
        self.sent.append((request, lease.key_name))
        said = self._handler(request, lease)
        answer = await said if inspect.isawaitable(said) else said
        if isinstance(answer, SendFault):
            raise answer
        return chat_reply(answer, request) if isinstance(answer, str) else answer

    async def close(self) -> None:
        """Note that it was closed."""
        self.is_closed = True


def chat_reply(text: str, request: Request) -> RawReply:
    """Return a good chat completion with this text, one token a word."""
    words = len(text.split())
    message = {"role": "assistant", "content": text}
    completion = {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 0,
        "model": request.model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": request.prompt_tokens,
            "completion_tokens": words,
            "total_tokens": request.prompt_tokens + words,
        },
    }
    headers = {"content-type": "application/json"}
    return RawReply(status=200, headers=headers, body=json.dumps(completion).encode())
