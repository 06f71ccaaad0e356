"""Send now: one event loop on one thread carries the calls of all worker threads and hooks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ..core.clock import Clock, SystemClock
from ..core.errors import RunStopping, UsageError
from ..core.loop_calls import LoopCalls, settle_future
from ..core.records import CallId, Lease, Outcome, OutcomeKind, RawReply, Request
from ..core.resource_cache import ResourceCache
from ..costs.prices import PriceBook
from ..keys import APIKeyManager
from ..transport import SendFault, Transport, default_transport, new_event_loop
from ..transport.openai_module import OpenAIModule
from . import attempts
from .admission import Admission, give_back
from .responses import Answer
from .run_context import Done, RunContext

logger = logging.getLogger(__name__)

#: Says so once when this many attempts in a row did not reach any server.
_UNREACHABLE_AFTER = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request on its way, and where its answer goes."""

    request: Request
    id: CallId
    context: RunContext
    #: Called once, from the sender's thread, with the answer or the error.
    deliver: Callable[[Answer | BaseException], None]
    #: What sends it; None: the sender's own transport.
    transport: Transport | None = None


class Sender:
    """Carries calls from admission to answer; `submit` may be called from any thread.

    Everything but `submit` and `close` happens on the sender's own thread, so there is no lock.
    """

    def __init__(
        self,
        keys: APIKeyManager,
        *,
        transport: Transport | None = None,
        clock: Clock | None = None,
        chance: random.Random | None = None,
    ) -> None:
        self.keys = keys
        self._clock = clock or SystemClock()
        self._chance = chance or random.Random()
        self._transport = transport or default_transport(keys.settings.proxy)
        #: For the user's own code that calls the openai package.
        self.openai_module = OpenAIModule(keys.settings.proxy)
        self._loop = new_event_loop()
        self._mail = LoopCalls(self._loop)
        self._admission = Admission(keys, self._loop, self._mail)
        self._mailboxes: dict[asyncio.AbstractEventLoop, LoopCalls] = {}
        self._carried: set[asyncio.Task[None]] = set()
        self._unreached = 0
        #: For calls that belong to no run.
        self.untracked_context = RunContext(
            prices=PriceBook(keys.settings.prices, keys.settings.api_base)
        )
        #: Journals of calls that belong to no run.
        self.resources = ResourceCache()
        self._pid = os.getpid()
        self._open_runs = 0
        self._batch_runs = 0
        self._has_warned = False
        self._thread = threading.Thread(target=self._run, name="live-lane", daemon=True)
        self._thread.start()

    @classmethod
    def of(cls, keys: APIKeyManager) -> Sender:
        """Return the sender that sends under these keys, made when first asked for."""
        return keys.shared_sender(cls)

    @contextlib.contextmanager
    def run_open(self, *, refuses_untracked: bool = False) -> Iterator[None]:
        """Mark that a run is on, during which calls outside its files are worth a warning.

        Args:
            refuses_untracked: they raise instead: the run is in batch mode.
        """
        self._open_runs += 1
        self._batch_runs += refuses_untracked
        self._unreached = 0
        try:
            yield
        finally:
            self._open_runs -= 1
            self._batch_runs -= refuses_untracked

    def warn_if_untracked(self) -> None:
        """Say once that a call belongs to no file although a run is on.

        Raises:
            UsageError: the run is in batch mode, in which such a call can get no answer.
        """
        if self._batch_runs:
            raise UsageError(
                'a call was made outside the hooks\' own threads, which mode="batch" cannot '
                "answer; start threads that ask with openai_parallel_toolkit.CarryingPool"
            )
        if self._open_runs and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "a call was made outside the hooks' own threads: it is sent, but its answer is "
                "not kept for the file. Start threads that ask with openai_parallel_toolkit."
                "CarryingPool.",
                extra={"action": "loose_call"},
            )

    def loop_calls_to(self, loop: asyncio.AbstractEventLoop) -> LoopCalls:
        """Return the way for answers into an asker's own event loop; call it on that loop."""
        loop_calls = self._mailboxes.get(loop)
        if loop_calls is None:
            loop_calls = LoopCalls(loop)
            open_ones = {k: v for k, v in self._mailboxes.copy().items() if not k.is_closed()}
            self._mailboxes = {**open_ones, loop: loop_calls}
        return loop_calls

    def submit(self, call: Call) -> None:
        """Send a call under the next free key; returns at once.

        Raises:
            UsageError: this process was forked from the one that made the sender.
        """
        if self._pid != os.getpid():
            raise UsageError("a forked process cannot use its parent's keys; make an APIKeyManager")
        self._mail.post(self._start, call)

    def close(self) -> None:
        """Cancel what is under way, close the connections and what is attached, end the thread."""
        if not self._loop.is_closed():
            self._mail.post(self._loop.stop)
            self._thread.join(timeout=5)
        self.openai_module.close()
        self.resources.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(self._shut_down())
        self._loop.close()

    async def _shut_down(self) -> None:
        for task in self._carried:
            task.cancel()
        await asyncio.gather(*self._carried, return_exceptions=True)
        await self._transport.close()
        await self._loop.shutdown_default_executor()

    def _start(self, call: Call) -> None:
        task = self._loop.create_task(self._carry(call))
        self._carried.add(task)
        task.add_done_callback(self._carried.discard)

    async def _carry(self, call: Call) -> None:
        context = call.context
        max_cost_usd = context.prices.max_cost_usd(call.request)
        steps = attempts.ask(
            call.request,
            context.policy,
            max_cost_usd=max_cost_usd,
            clock=self._clock,
            chance=self._chance,
            clean=self.keys.redactor.clean,
        )
        try:
            call.deliver(await self._follow(steps, call))
        except BaseException as exc:  # noqa: BLE001 - handed to the one who asked
            call.deliver(RunStopping() if isinstance(exc, asyncio.CancelledError) else exc)

    async def _follow(self, steps: Generator[attempts.Step, Any, Answer], call: Call) -> Answer:
        told: Any = None
        while True:
            try:
                step = steps.send(told)
            except StopIteration as stop:
                answer: Answer = stop.value
                return answer
            told = await self._do(step, call)

    async def _do(self, step: attempts.Step, call: Call) -> Any:
        context = call.context
        if isinstance(step, attempts.Admit):
            return await self._admit(step, context)
        if isinstance(step, attempts.Claim):
            return await self._claim(step.lease, call)
        if isinstance(step, attempts.Send):
            return await self._send(step, call)
        if isinstance(step, attempts.Keep):
            return await self._keep(step, call)
        if isinstance(step, attempts.End):
            return self._end(step, context)
        return await self._pause(step.seconds, context)

    async def _admit(self, step: attempts.Admit, context: RunContext) -> Lease:
        return await self._admission.admit(step.need, context)

    async def _claim(self, lease: Lease, call: Call) -> int:
        durable, done = self._durable()
        attempt_id: int | None = None
        try:
            attempt_id = call.context.journal.claim(
                call.id,
                key_name=lease.key_name,
                model=call.request.model,
                max_cost_usd=lease.need.max_cost_usd,
                done=done,
            )
            await durable
            call.context.stop.check()
        except BaseException:
            outcome = Outcome(kind=OutcomeKind.UNSENT, code="stopped")
            self.keys.settle(lease, outcome)
            give_back(call.context, lease.need, Decimal(0))
            if attempt_id is not None:
                call.context.journal.ended(attempt_id, outcome)
            raise
        return attempt_id

    async def _send(self, step: attempts.Send, call: Call) -> RawReply | SendFault:
        call.context.tally.sent(step.lease)
        transport = call.transport or self._transport
        try:
            return await transport.send(call.request, step.lease, timeout_s=step.timeout_s)
        except SendFault as fault:
            return fault
        except BaseException as exc:  # a user's own `generate` may raise anything
            outcome = Outcome(kind=OutcomeKind.UNKNOWN, code=type(exc).__name__)
            self._settle(step.lease, outcome, call.context, None)
            if isinstance(exc, Exception):
                call.context.journal.ended(step.attempt_id, outcome)
            raise

    async def _keep(self, step: attempts.Keep, call: Call) -> None:
        self._unreached = 0
        cost_usd = call.context.prices.cost_usd(call.request.model, step.outcome.usage)
        durable, done = self._durable()
        call.context.journal.answered(
            step.attempt_id, call.id, step.outcome, step.reply.body, cost_usd, done
        )
        self._settle(step.lease, step.outcome, call.context, cost_usd)
        await durable

    def _end(self, step: attempts.End, context: RunContext) -> None:
        context.journal.ended(step.attempt_id, step.outcome)
        self._settle(step.lease, step.outcome, context, None)
        if step.outcome.kind is OutcomeKind.UNSENT:
            self._say_unreachable(step)
        else:
            self._unreached = 0

    def _settle(
        self, lease: Lease, outcome: Outcome, context: RunContext, cost_usd: Decimal | None
    ) -> None:
        self.keys.settle(lease, outcome)
        context.tally.ended(lease, outcome, cost_usd)
        is_in_doubt = outcome.kind in {OutcomeKind.OK, OutcomeKind.UNKNOWN} and cost_usd is None
        paid_usd = lease.need.max_cost_usd if is_in_doubt else cost_usd
        give_back(context, lease.need, paid_usd or Decimal(0))

    def _say_unreachable(self, step: attempts.End) -> None:
        self._unreached += 1
        if self._unreached == _UNREACHABLE_AFTER:
            logger.warning(
                "%s cannot be reached (%s: %s); trying again. Check api_base and, behind a "
                "firewall, the proxy setting in the config.",
                step.lease.api_base,
                step.outcome.code,
                step.outcome.message,
                extra={"action": "unreachable"},
            )

    async def _pause(self, seconds: float, context: RunContext) -> None:
        over = self._loop.create_future()
        timer = self._loop.call_later(seconds, settle_future, over, None)
        try:
            with context.stop.waiting(lambda: self._mail.post(settle_future, over, None)):
                await over
        finally:
            timer.cancel()

    def _durable(self) -> tuple[asyncio.Future[None], Done]:
        """Return a future of this loop and the callback that settles it from any thread."""
        durable = self._loop.create_future()

        def done(error: BaseException | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                self._mail.post(settle_future, durable, error)

        return durable, done
