"""Send what is no call under a key: it is not kept, not counted and not tried again."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.clock import Clock
from ..core.errors import UsageError
from ..core.records import Need, Outcome, OutcomeKind, RawReply
from ..keys.circuit import Outage
from ..transport import SendFault, Transport
from ..transport.base import HttpExchange
from .admission import Admission
from .classify import classify
from .refusals import Clean
from .run_context import RunContext

#: What says that it is the key's fault, and not that it may not do this one thing.
_DEAD_CODE = "invalid_api_key"


@dataclass(kw_only=True, eq=False)
class Exchanges:
    """Passes exchanges on, such as GET /models; used on the sender's event loop alone."""

    transport: Transport
    admission: Admission
    clock: Clock
    clean: Clean

    async def run(self, exchange: HttpExchange, context: RunContext) -> RawReply:
        """Return the whole reply, of any status; a key that proves dead makes way for the next.

        Raises:
            SendFault: no whole reply came.
            NoUsableKey: every key is dropped.
        """
        send = getattr(self.transport, "run", None)
        if send is None:
            raise UsageError(f"{type(self.transport).__name__} can only post what a model is asked")
        while True:
            lease = await self.admission.lend(Need(model="", tokens=0), context)
            if isinstance(lease, Outage):
                raise SendFault("unsent", "connect", str(lease))
            outcome = Outcome(kind=OutcomeKind.UNKNOWN)
            try:
                timeout_s = context.policy.request_timeout_s
                reply: RawReply = await send(exchange, lease, timeout_s=timeout_s)
                outcome = self._outcome(reply, exchange)
            except SendFault as fault:
                if fault.kind == "unsent":
                    outcome = Outcome(kind=OutcomeKind.UNSENT)
                raise
            finally:
                self.admission.keys.settle(lease, outcome)
            if outcome.kind is not OutcomeKind.KEY_DEAD:
                return reply

    def _outcome(self, reply: RawReply, exchange: HttpExchange) -> Outcome:
        wall_s = self.clock.wall_s()
        outcome, _ = classify(reply, exchange.path, wall_s=wall_s, clean=self.clean)
        is_dead = outcome.kind is OutcomeKind.KEY_DEAD and outcome.code == _DEAD_CODE
        is_told = is_dead or outcome.kind is OutcomeKind.BUSY
        return outcome if is_told else Outcome(kind=OutcomeKind.REJECTED, status=reply.status)
