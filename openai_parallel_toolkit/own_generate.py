"""Let a user's own `generate` send by itself, on the thread that asked, under a lent key."""

from __future__ import annotations

import asyncio
import contextlib
import queue
from typing import Any

from .errors import UsageError
from .mailbox import Mailbox
from .models import OpenAIModel, wants_client
from .records import Lease, RawReply, Request, canonical_json
from .replies import Answer
from .transport.openai_module import OpenAIModule


class _Job:
    """One attempt that the lane hands to the asking thread, and where its end goes."""

    def __init__(self, lease: Lease, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        self.lease = lease
        self.timeout_s = timeout_s
        self.ended: asyncio.Future[RawReply] = loop.create_future()
        self._mail = Mailbox(loop)

    def finish(self, reply: RawReply | BaseException) -> None:
        with contextlib.suppress(RuntimeError):  # the lane was closed meanwhile
            self._mail.post(self._settle, reply)

    def _settle(self, reply: RawReply | BaseException) -> None:
        if self.ended.done():
            return
        if isinstance(reply, BaseException):
            self.ended.set_exception(reply)
        else:
            self.ended.set_result(reply)


class AskingThread:
    """Waits for an answer and meanwhile does the sending that the lane asks for.

    It is both the lane's transport for this one call and the way the thread waits.
    """

    def __init__(self, model: OpenAIModel, openai_module: OpenAIModule) -> None:
        self._model = model
        self._openai = openai_module
        self._inbox: queue.SimpleQueue[_Job | Answer | BaseException] = queue.SimpleQueue()

    @property
    def transport(self) -> AskingThread:
        return self

    async def send(self, request: Request, lease: Lease, *, timeout_s: float) -> RawReply:
        """Have the asking thread call `generate` under `lease`; runs on the lane."""
        del request
        job = _Job(lease, timeout_s)
        self._inbox.put(job)
        return await job.ended

    async def close(self) -> None:
        """Nothing to close."""

    def deliver(self, result: Answer | BaseException) -> None:
        self._inbox.put(result)

    def wait(self) -> Answer | BaseException:
        while True:
            letter = self._inbox.get()
            if not isinstance(letter, _Job):
                return letter
            letter.finish(self._attempt(letter))

    def _attempt(self, job: _Job) -> RawReply | BaseException:
        try:
            value = self._generate(job)
        except Exception as exc:  # noqa: BLE001 - told to the lane, which decides
            return self._openai.explain(exc) or self._openai.fault_of(exc) or exc
        return _as_reply(value, self._model)

    def _generate(self, job: _Job) -> Any:
        with self._openai.carry(job.lease):
            if wants_client(self._model):
                client = self._openai.client_for(job.lease).with_options(timeout=job.timeout_s)
                return self._model.generate(client)
            return self._model.generate()


def _as_reply(value: Any, model: OpenAIModel) -> RawReply | BaseException:
    try:
        body = canonical_json({"generated": value})
    except (TypeError, ValueError) as exc:
        return UsageError(
            f"{type(model).__name__}.generate() must return JSON (text, numbers, lists, dicts), "
            f"so that the answer can be kept: {exc}. The call was made and may have been billed."
        )
    return RawReply(status=200, headers={}, body=body)
