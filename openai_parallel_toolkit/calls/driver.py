"""Do what `attempts` decides: claim, send, record and wait, on one event loop."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from ..core.clock import Clock
from ..core.errors import JournalError, OutOfResources, StorageError
from ..core.logs import logger_of
from ..core.loop_calls import LoopCalls
from ..core.records import Lease, Need, Outcome, OutcomeKind, RawReply, Reply
from ..keys.circuit import Outage
from ..transport import SendFault, Transport
from . import attempts
from .model_parameters import ModelParameters
from .refusals import Clean
from .run_context import NO_WAIT, SubmittedCall, WaitedFor
from .token_use import TokenUse

logger = logger_of(__name__)

#: Says so once when this many attempts in a row did not reach any server.
_UNREACHABLE_AFTER = 3
#: To be told: shorter ones are the loop's own.
_SHORTEST_WAIT_S = 0.001


@dataclass(kw_only=True, eq=False)
class CallDriver:
    """Takes calls from admission to their reply; used on the event loop of `calls` alone."""

    transport: Transport
    calls: LoopCalls
    #: Waits until an attempt may be sent, or raises what says that it never may.
    admit: Callable[[Need, SubmittedCall], Awaitable[Lease | Outage]]
    #: Takes the lease of an attempt back and returns what follows, or raises what ends the call.
    settle: Callable[[attempts.End, SubmittedCall], Outcome]
    #: Waits before the next attempt.
    pause: Callable[[float, SubmittedCall], Awaitable[object]]
    clock: Clock
    chance: random.Random
    #: Takes secrets out of the provider's words.
    clean: Clean
    parameters: ModelParameters = field(default_factory=ModelParameters)
    token_use: TokenUse = field(default_factory=TokenUse)
    #: Attempts in a row that did not reach any server.
    unreached: int = 0

    def __post_init__(self) -> None:
        #: What does a step, by its kind.
        self._doing: dict[type, Callable[[Any, SubmittedCall], Awaitable[Any]]] = {
            attempts.Admit: self._admit,
            attempts.Claim: self._claim,
            attempts.Send: self._send,
            attempts.End: self._end,
            attempts.Pause: self._pause,
        }

    async def reply(self, call: SubmittedCall) -> Reply:
        """Return the reply to a call, durable; raise what came instead."""
        steps = attempts.ask(
            call.request,
            call.context.policy,
            prices=call.context.prices,
            parameters=self.parameters,
            token_use=self.token_use,
            clock=self.clock,
            chance=self.chance,
            clean=self.clean,
        )
        told: Any = None
        while True:
            try:
                step = steps.send(told)
            except StopIteration as stop:
                reply: Reply = stop.value
                return reply
            told = await self._doing[type(step)](step, call)

    async def _admit(self, step: attempts.Admit, call: SubmittedCall) -> Lease | Outage:
        since_s = self.clock.now_s()
        lease = await self.admit(step.need, call)
        waited_s = self.clock.now_s() - since_s
        if waited_s > _SHORTEST_WAIT_S:
            call.wait = WaitedFor(call.wait.seconds + waited_s, call.wait.reason)
        return lease

    async def _pause(self, step: attempts.Pause, call: SubmittedCall) -> None:
        call.wait = WaitedFor(call.wait.seconds + step.seconds, "retry")
        await self.pause(step.seconds, call)

    async def _claim(self, step: attempts.Claim, call: SubmittedCall) -> int:
        lease, context, attempt_id, wait = step.lease, call.context, 0, call.wait
        body = None if call.is_kept or call.id.k else call.request.body
        call.wait, call.is_kept = NO_WAIT, True
        context.tally.sent(lease)
        try:
            if context.journal is not None:
                durable, done = self.calls.durable()
                attempt_id = context.journal.claim(
                    call.id,
                    key_name=lease.key_name,
                    model=call.request.model,
                    max_cost_usd=lease.need.max_cost_usd,
                    done=done,
                    reply_bytes=call.request.most_reply_bytes,
                    body=body,
                    waited_s=wait.seconds,
                    wait_reason=wait.reason if wait.seconds else "",
                )
                await durable
            context.stop.check()
        except BaseException as exc:
            outcome = Outcome(kind=OutcomeKind.UNSENT, code="stopped")
            self.settle(attempts.End(lease, attempt_id, outcome), call)
            # Then nothing is claimed.
            is_refused = isinstance(exc, StorageError | JournalError | OutOfResources)
            if context.journal is not None and attempt_id and not is_refused:
                context.journal.ended(attempt_id, outcome)
            raise
        return attempt_id

    async def _send(self, step: attempts.Send, call: SubmittedCall) -> RawReply | SendFault:
        try:
            return await self.transport.send(step.request, step.lease, timeout_s=step.timeout_s)
        except SendFault as fault:
            return fault
        except BaseException as exc:  # cancelled, or the transport's own mistake
            outcome = Outcome(kind=OutcomeKind.UNKNOWN, code=type(exc).__name__)
            self.settle(attempts.End(step.lease, step.attempt_id, outcome), call)
            if isinstance(exc, Exception) and call.context.journal is not None:
                call.context.journal.ended(step.attempt_id, outcome)
            raise

    async def _end(self, end: attempts.End, call: SubmittedCall) -> Outcome:
        journal, durable = call.context.journal, None
        self._note_reach(end)
        outcome = self.settle(end, call)
        if journal is not None and outcome.kind.is_answer:
            durable, done = self.calls.durable()
            assert isinstance(end.ended, Reply)
            journal.answered(
                end.attempt_id,
                call.id,
                outcome,
                end.ended.body,
                outcome.cost_usd,
                done,
                headers=end.ended.headers,
                service_s=end.service_s,
                finish_reason=end.ended.finish_reason,
            )
        elif journal is not None:
            journal.ended(end.attempt_id, outcome, service_s=end.service_s)
        if durable is not None:
            await durable
        return outcome

    def _note_reach(self, end: attempts.End) -> None:
        self.unreached = self.unreached + 1 if end.outcome.kind is OutcomeKind.UNSENT else 0
        if self.unreached == _UNREACHABLE_AFTER:
            logger.warning(
                "%s cannot be reached (%s); trying again. Check the url (api_base in the config) "
                "and, behind a firewall, the proxy (HTTPS_PROXY, or proxy in the config).",
                end.lease.api_base,
                end.outcome.message,
                extra={"action": "unreachable"},
            )
