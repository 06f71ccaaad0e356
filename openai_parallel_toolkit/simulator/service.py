"""Give each request its plan, and enter it into the bill; knows nothing of sockets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from .batches.cabinet import FileCabinet
from .batches.clerk import LineClerk
from .batches.course import BatchLimits, Steering
from .batches.office import BatchOffice, Later
from .control import Control
from .drafts import CallReader
from .endpoints.batches import BatchDesk
from .endpoints.files import FileDesk
from .faults import SILENT, Fault, FaultScript
from .http1 import HttpRequest, Reply
from .judge import Judge, Sight, Verdict, sight_of
from .keys import Keyring, key_value_of
from .latency import Latency
from .ledger import Ledger, Row
from .routes import openai_routes, paid_endpoints


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a connection has to do with a request."""

    reply: Reply
    #: Seconds to wait before the first byte.
    delay_s: float = 0.0
    #: How the reply is delivered; None: as it should be.
    fault: Fault | None = None
    #: Its row in the ledger; None: it has none.
    row: Row | None = None


class Service:
    """The provider behind the wire. Touched by the event loop's thread alone."""

    def __init__(
        self,
        *,
        keyring: Keyring,
        script: FaultScript,
        ledger: Ledger,
        latency: Latency,
        seed: int,
        context_tokens: int,
        steering: Steering,
        limits: BatchLimits,
        clock: Callable[[], float],
        now_s: Callable[[], float],
        later: Later,
        on_post: Callable[[Row], None] | None,
    ) -> None:
        self._keyring = keyring
        self._script = script
        self._ledger = ledger
        self._seed = seed
        self._clock = clock
        self._on_post = on_post
        self._start_s = clock()
        self._ordinal = 0
        reader = CallReader(seed=seed, context_tokens=context_tokens)
        paid = paid_endpoints()
        clerk = LineClerk(
            paid=paid, reader=reader, script=script, ledger=ledger, time_s=self._time_s
        )
        self.files = FileCabinet(seed=seed, now_s=now_s)
        self.batches = BatchOffice(
            cabinet=self.files,
            clerk=clerk,
            steering=steering,
            limits=limits,
            seed=seed,
            now_s=now_s,
            later=later,
        )
        routes = openai_routes(
            paid,
            FileDesk(cabinet=self.files, limits=limits, steering=steering, later=later),
            BatchDesk(office=self.batches, clerk=clerk, cabinet=self.files),
        )
        self._judge = Judge(
            router=routes, script=script, reader=reader, latency=latency, clock=clock
        )
        self._control = Control(
            ledger=ledger,
            script=script,
            files=self.files,
            batches=self.batches,
            steering=steering,
            reset=self.reset,
        )

    def reset(self) -> None:
        """Begin again: no rows, ordinals from 1, no files or batches, limits and quotas full;
        rules and what is wanted of batches stay.
        """
        self._ordinal = 0
        self._start_s = self._clock()
        self._keyring.reset()
        self._script.reset()
        self._ledger.reset()
        self.files.reset()
        self.batches.reset()

    def handle(self, request: HttpRequest) -> Plan:
        """Return what to do with a request; a POST to the provider is billed here."""
        if self._control.owns(request.path):
            return Plan(reply=self._control.handle(request))
        if request.method == "POST":
            return self._serve_post(request)
        return self._serve(request)

    def leave(self, row: Row | None, *, bytes_sent: int, client_closed: bool) -> None:
        """Note how the delivery of a plan ended."""
        if row is not None:
            self._ledger.leave(row, bytes_sent=bytes_sent, client_closed=client_closed)

    def _serve(self, request: HttpRequest) -> Plan:
        """Return the plan for a request that has no row."""
        account = self._keyring.find(key_value_of(request.headers))
        verdict = self._judge.judge(sight_of(request, 0, account))
        return Plan(reply=verdict.reply, delay_s=verdict.delay_s, fault=verdict.fault)

    def _serve_post(self, request: HttpRequest) -> Plan:
        self._ordinal += 1
        account = self._keyring.find(key_value_of(request.headers))
        sight = sight_of(request, self._ordinal, account)
        verdict = self._judge.judge(sight)
        row = self._row(sight, verdict)
        self._ledger.enter(row)
        if self._on_post is not None:
            self._on_post(row)
        headers = (("x-request-id", row.request_id), *verdict.reply.headers)
        if account is not None:
            headers += account.limits.headers(self._clock())
        reply = replace(verdict.reply, headers=headers)
        return Plan(reply=reply, delay_s=verdict.delay_s, fault=verdict.fault, row=row)

    def _row(self, sight: Sight, verdict: Verdict) -> Row:
        fault, bought = verdict.fault, verdict.bought
        return Row(
            ordinal=sight.ordinal,
            time_s=self._time_s(),
            path=sight.request.path,
            key=sight.account.key.name if sight.account else "",
            payload=sight.digest.hex(),
            model=verdict.model,
            fault=fault.kind if fault else "",
            status=0 if fault and fault.kind in SILENT else verdict.reply.status,
            billed=bought is not None,
            prompt_tokens=bought.prompt_tokens if bought else 0,
            completion_tokens=bought.completion_tokens if bought else 0,
            request_id=f"req_{self._seed & 0xFFFFFFFF:08x}{sight.ordinal:024x}",
        )

    def _time_s(self) -> float:
        return self._clock() - self._start_s
