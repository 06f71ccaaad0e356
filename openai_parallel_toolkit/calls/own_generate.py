"""Run a user's own `generate`: each request in it is a durable call of its own."""

from __future__ import annotations

import contextvars
import functools
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core.errors import UsageError
from ..core.records import Reply, Usage
from .models import OpenAIModel, PayloadModel, wants_client
from .pending_call import AnswerPolicy, CallContext, Keys, ModelCall
from .refusals import Clean
from .responses import read_answer
from .run_context import Deliver
from .structured import embedding, whole_text

#: What the openai package's objects are answers to, by their `object`.
_PATHS = {
    "chat.completion": "/chat/completions",
    "list": "/embeddings",
    "response": "/responses",
    "text_completion": "/completions",
}


@dataclass(eq=False)
class GenerateCall:
    """A model that sends by itself, on its way to a good answer."""

    context: CallContext
    model: OpenAIModel
    #: What is handed to who asked.
    value: Any = None

    def ask(self) -> Reply:
        """Have `generate` run on this thread and return what came of it as a reply."""
        self.context.file_calls.refuse_on_own_loop("arequest_openai_api")
        with self.context.current(), self.context.file_calls.in_call():
            # First, for what follows its import imports the next; slow, which is no hang.
            import openai  # noqa: F401

            from . import openai_module

            openai_module.install()
            try:
                generated = self.model.generate(*self._arguments())
            except StopIteration as exc:  # no future can carry it
                raise RuntimeError("generate raised StopIteration") from exc
            except Exception as exc:
                generated = openai_module.answer_in(exc)
                if generated is None:
                    raise
            return _as_reply(generated, self.context.clean)

    async def ask_async(self) -> Reply:
        """Do what `ask` does without blocking the event loop."""
        reply: Reply = await self.context.wait_async(self.start)
        return reply

    def start(self, deliver: Deliver) -> None:
        """Have `deliver` get what comes of it, from a thread of its own in this context.

        The thread is a daemon, so that a `generate` that hangs does not keep the process alive.
        """
        run = functools.partial(contextvars.copy_context().run, self._end, deliver)
        threading.Thread(target=run, name="own-generate", daemon=True).start()

    def accepts(self, reply: Reply, policy: AnswerPolicy) -> bool:
        """Take what `generate` returned; raises IncompleteAnswer or InvalidAnswer."""
        self.value = _value(reply, allow_incomplete=policy.allow_incomplete)
        return True

    def _arguments(self) -> list[Any]:
        from .durable_transport import DurableTransport, client_over

        if not wants_client(self.model):
            return []
        make = functools.partial(client_over, DurableTransport())
        return [self.context.sender.resource("generate's client", make)]

    def _end(self, deliver: Deliver) -> None:
        try:
            deliver(self.ask())
        except BaseException as exc:  # noqa: BLE001 - raised where the answer is waited for
            deliver(exc)


def call_of(context: CallContext, model: OpenAIModel) -> ModelCall | GenerateCall:
    """Return the call that a model makes."""
    if isinstance(model, PayloadModel) and type(model).generate is PayloadModel.generate:
        return context.model_call(model)
    return GenerateCall(context, model)


def pending_call(
    model: OpenAIModel,
    keys: Keys | None,
    config_path: str | None,
    max_retries: int | None,
    journal: str | os.PathLike[str] | None,
) -> ModelCall | GenerateCall:
    """Return one call, where it is to be asked; see `request_openai_api`."""
    if not isinstance(model, OpenAIModel):
        raise UsageError(
            f"expected a model such as Gpt35Turbo(content=...), got {type(model).__name__}"
        )
    return call_of(CallContext.find(keys, config_path, max_retries, journal), model)


def _as_reply(value: Any, clean: Clean) -> Reply:
    """Return what `generate` returned as a reply: an answer of the openai package is read."""
    dump = getattr(value, "model_dump", None)
    raw = dump(warnings=False) if callable(dump) else {}
    path = _PATHS.get(str(raw.get("object"))) if isinstance(raw, Mapping) else None
    found = read_answer(path, raw, clean=clean) if path is not None else None
    if found is not None:
        return found
    text = value if isinstance(value, str) else ""
    raw = {"generated": value}
    return Reply(text=text, finish_reason="generated", usage=Usage(), model="", raw=raw)


def _value(reply: Reply, *, allow_incomplete: bool) -> Any:
    if "generated" in reply.raw:
        value = reply.raw["generated"]
        return value.strip() if isinstance(value, str) else value
    if isinstance(reply.raw.get("data"), list):
        texts = [""] * len(reply.raw["data"])
        return embedding(reply, texts[0] if len(texts) == 1 else texts)
    return whole_text(reply, allow_incomplete=allow_incomplete)
