"""Let a user's own `generate` send by itself, under a lent key, on a thread that may block."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from abc import ABC, abstractmethod
from typing import Any

from ..core.errors import UsageError
from ..core.loop_calls import LoopCalls
from ..core.records import Lease, RawReply, Reply, Request, canonical_json
from ..transport.openai_module import OpenAIModule
from .models import OpenAIModel, wants_client


class _Job:
    """One attempt that the sender hands to the asking thread, and where its end goes."""

    def __init__(self, lease: Lease, timeout_s: float) -> None:
        self.lease = lease
        self.timeout_s = timeout_s
        self.ended, self._settle = LoopCalls(asyncio.get_running_loop()).future()

    def finish(self, reply: RawReply | BaseException) -> None:
        if isinstance(reply, BaseException):
            self._settle(None, reply)
        else:
            self._settle(reply)


class _OwnTransport(ABC):
    """The sender's transport for one call of a model that sends by itself."""

    def __init__(self, model: OpenAIModel, openai_module: OpenAIModule) -> None:
        self._model = model
        self._openai = openai_module

    async def send(self, request: Request, lease: Lease, *, timeout_s: float) -> RawReply:
        """Have a thread call `generate` under `lease`; runs on the sender."""
        del request
        job = _Job(lease, timeout_s)
        self._hand_over(job)
        reply: RawReply = await job.ended
        return reply

    async def close(self) -> None:  # noqa: B027 - the openai package owns the connections
        """Nothing to close."""

    @abstractmethod
    def _hand_over(self, job: _Job) -> None:
        """Have a thread do the job."""

    def _attempt(self, job: _Job) -> RawReply | BaseException:
        try:
            value = self._generate(job)
        except StopIteration as exc:  # no future can carry it
            error = RuntimeError(f"{type(self._model).__name__}.generate raised StopIteration")
            error.__cause__ = exc
            return error
        except Exception as exc:  # noqa: BLE001 - told to the sender, which decides
            return self._openai.explain(exc) or self._openai.fault_of(exc) or exc
        except BaseException as exc:  # noqa: BLE001 - raised where the answer is waited for
            return exc
        return _as_reply(value, self._model)

    def _generate(self, job: _Job) -> Any:
        with self._openai.carry(job.lease):
            if wants_client(self._model):
                client = self._openai.client_for(job.lease).with_options(timeout=job.timeout_s)
                return self._model.generate(client)
            return self._model.generate()


class AskingThread(_OwnTransport):
    """Waits for an answer and meanwhile does the sending that the sender asks for."""

    def __init__(self, model: OpenAIModel, openai_module: OpenAIModule) -> None:
        super().__init__(model, openai_module)
        self._inbox: queue.SimpleQueue[_Job | Reply | BaseException] = queue.SimpleQueue()

    def deliver(self, result: Reply | BaseException) -> None:
        self._inbox.put(result)

    def wait(self) -> Reply | BaseException:
        while True:
            handed = self._inbox.get()
            if not isinstance(handed, _Job):
                return handed
            handed.finish(self._attempt(handed))

    def _hand_over(self, job: _Job) -> None:
        self._inbox.put(job)


class FreshThread(_OwnTransport):
    """Sends each attempt on a thread of its own, in the context of who made this object.

    The threads are daemons, so that a `generate` that hangs does not keep the process alive.
    """

    def __init__(self, model: OpenAIModel, openai_module: OpenAIModule) -> None:
        super().__init__(model, openai_module)
        self._context = contextvars.copy_context()

    def _hand_over(self, job: _Job) -> None:
        threading.Thread(
            target=self._context.run, args=(self._do, job), name="own-generate", daemon=True
        ).start()

    def _do(self, job: _Job) -> None:
        job.finish(self._attempt(job))


def _as_reply(value: Any, model: OpenAIModel) -> RawReply | BaseException:
    try:
        body = canonical_json({"generated": value})
    except (TypeError, ValueError) as exc:
        return UsageError(
            f"{type(model).__name__}.generate() must return JSON (text, numbers, lists, dicts), "
            f"so that the answer can be kept: {exc}. The call was made and may have been billed."
        )
    return RawReply(status=200, headers={}, body=body)
