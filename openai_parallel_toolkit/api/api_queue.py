"""Send ready-made requests to one address, at no more than so many tokens a minute."""

from __future__ import annotations

import asyncio
import functools
import itertools
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from ..calls import attempts
from ..calls.driver import CallDriver
from ..calls.open_runs import OpenRun
from ..calls.run_context import RunContext, StopToken, SubmittedCall
from ..core.clock import Clock, SystemClock
from ..core.errors import ConfigError, NoUsableKey
from ..core.loop_calls import LoopCalls
from ..core.records import CallId, Lease, Need, Outcome, OutcomeKind, RawReply
from ..core.redaction import Redactor, Secret
from ..costs.prices import KnownModel, PriceBook
from ..transport import Transport
from ..transport.http import EndpointTransport
from .queue_pace import QueuePace
from .ready_requests import MaskedHeaders, ReadyRequests

#: Connections that a process can have without touching its usual limit of open files.
_MOST_IN_FLIGHT = 500


class ApiQueue:
    """Sends requests to one URL and gives their raw responses in order; lives on one event loop.

    The tokens of the requests sent within any 60 seconds never exceed `rate_limit`. They are those
    of the input: `run` has them counted by tiktoken for the model, in a thread. Four bytes count as
    one where it cannot, and for what `submit_jobs` started before; images, audio and documents by
    their providers' rules. Answers are told from errors by the rules of the API that `url` ends
    in: chat completions, completions, responses, embeddings, moderations.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        request_jsons: Sequence[Mapping[str, Any]],
        ignore_error: Callable[[str], bool] | None = None,
        rate_limit: float = 40_000.0,
        max_retries: int = 10,
        *,
        transport: Transport | None = None,
        clock: Clock | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        chance: random.Random | None = None,
    ) -> None:
        """Check the requests; nothing is sent yet.

        Args:
            url: the whole address, such as https://api.openai.com/v1/chat/completions.
            headers: sent as they are, with your Authorization or api-key.
            request_jsons: the bodies.
            ignore_error: told an error response's text; True: do not try again, let an empty
                answer stand in. None: no error is ignored.
            rate_limit: tokens a minute.
            max_retries: re-sends of a request after an error response. A limit (429) is one,
                unless the server says how long to wait: that is waited for.
            transport: what sends; None: HTTP to `url` with `headers`.
            clock: None: the system's.
            sleep: waits so many seconds.
            chance: for the jitter of pauses; None: a fresh one.

        Raises:
            UsageError: a request is larger than `rate_limit`, or cannot be sent as JSON.
        """
        self.url, self.headers = url, MaskedHeaders(headers)
        self.request_jsons = list(request_jsons)
        self.ignore_error = ignore_error
        self.rate_limit, self.max_retries = rate_limit, max_retries
        self._requests = ReadyRequests(url, self.request_jsons, rate_limit)
        count = len(self._requests)
        #: Responses in the order of the requests; None: not there yet.
        self.out: list[dict[str, Any] | None] = [None] * count
        #: Each request's last error; None: it had none.
        self.errors: list[str | None] = [None] * count
        #: How often each request was sent; refusals for an announced limit do not count.
        self.tries: list[int] = [0] * count
        #: The tasks of the requests that are under way, by position.
        self.api_jobs: dict[int, asyncio.Task[dict[str, Any]]] = {}
        self._clock, self._sleep = clock or SystemClock(), sleep
        self._chance = chance or random.Random()
        self._clean = Redactor(self.headers.secrets()).clean
        secrets = {name: Secret(value, name) for name, value in headers.items()}
        self._transport: Callable[[], Transport]
        self._transport = lambda: transport or EndpointTransport(url, secrets)
        self._driver: CallDriver | None = None
        # An answer that was lost counts as an error like any other.
        policy = attempts.Policy(max_retries=max_retries, max_unknown=max_retries)
        #: Its stop token is closed by what ends the run, and made anew for the next.
        self._context = RunContext(policy=policy, prices=_NoPrices({}))
        self._address = urlsplit(url).hostname or ""
        self._pace = QueuePace(rate_limit, self._address, self._clock)
        self._lease_ids = itertools.count(1)
        self._due = deque(range(count))
        #: Positions of those that are being sent.
        self._sending: set[int] = set()
        self._moved, self._start = asyncio.Event(), asyncio.Lock()

    def __len__(self) -> int:
        """How many requests there are."""
        return len(self._requests)

    @property
    def todo(self) -> list[bool]:
        """Whether each request still lacks its response."""
        return [response is None for response in self.out]

    @property
    def waiting_on(self) -> list[asyncio.Task[dict[str, Any]]]:
        """The tasks that are waited for."""
        return list(self.api_jobs.values())

    async def run(self) -> list[dict[str, Any]]:
        """Send everything and return the responses in the order of the requests.

        Called again after an error, it goes on with what is missing.

        Raises:
            UsageError: a request has more tokens than `rate_limit`; nothing was sent.
            RequestFailed: a request had more than `max_retries` errors, or will never be accepted;
                what was answered is in `out`.
            NoUsableKey: the key in the headers is refused.
            ConfigError: a run with max_cost is on, which could not count this.
        """
        _refuse_under_a_cap()
        await self._requests.count(self._due)
        try:
            while self._due and self._context.stop.reason is None:
                self.submit_jobs()
                if self._due:
                    await self._change()
            await self.collect_jobs()
        except asyncio.CancelledError:
            tasks = self.waiting_on
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._close()
            raise
        return [response for response in self.out if response is not None]

    def submit_jobs(self) -> None:
        """Start as many requests as the limit allows now, and return."""
        while self._due and len(self.api_jobs) < _MOST_IN_FLIGHT:
            if self._pace.wait_s(self._requests[self._due[0]]) > 0:
                return
            position = self._due.popleft()
            self._pace.hold(position, self._requests[position])
            response = self._response(position)
            task = self.api_jobs[position] = asyncio.get_running_loop().create_task(response)
            task.add_done_callback(functools.partial(self._ended, position))

    async def collect_jobs(self) -> None:
        """Wait for the requests that are under way; their responses are in `out` then.

        Raises:
            RequestFailed, NoUsableKey: as `run`.
        """
        while self.api_jobs:
            self._moved.clear()
            await self._moved.wait()
        await self._close()
        failure = self._context.stop.reason
        if failure is not None:
            self._context = replace(self._context, stop=StopToken())
            raise failure

    async def _change(self) -> None:
        """Wait until another request may start, or a job has ended."""
        self._moved.clear()
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._moved.wait())]
        wait_s = self._pace.wait_s(self._requests[self._due[0]])
        if wait_s > 0:
            waits.append(asyncio.ensure_future(self._sleep(wait_s)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _ended(self, position: int, task: asyncio.Task[dict[str, Any]]) -> None:
        del self.api_jobs[position]
        self._pace.release(position)
        failure = None if task.cancelled() else task.exception()
        if failure is None and not task.cancelled():
            self.out[position] = task.result()
        else:
            self._due.append(position)
        if isinstance(failure, Exception) and self._context.stop.reason is None:
            self._context.stop.close(failure)
            for other, job in self.api_jobs.items():
                if other not in self._sending:  # what is being sent may be billed
                    job.cancel()
        self._moved.set()

    async def _close(self) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            await driver.transport.close()

    # -- one request ---------------------------------------------------------------------------

    async def _response(self, position: int) -> dict[str, Any]:
        if self._driver is None:
            self._driver = CallDriver(
                transport=self._transport(),
                calls=LoopCalls(asyncio.get_running_loop()),
                admit=self._admit,
                settle=self._settle,
                pause=lambda seconds, _: self._sleep(seconds),  # what stops the queue cancels it
                clock=self._clock,
                chance=self._chance,
                clean=self._clean,
            )
        request = self._requests[position]
        call_id = CallId(file_id=0, hash=request.hash, k=position)
        call = SubmittedCall(request=request, id=call_id, context=self._context)
        try:
            return dict((await self._driver.reply(call)).raw)
        except _IgnoredError:
            return self._requests.empty_answer()

    async def _admit(self, need: Need, call: SubmittedCall) -> Lease:
        """Wait for the limit, if there is no place booked, and use the place."""
        position = call.id.k
        while not self._pace.holds(position):
            wait_s = self._pace.wait_s(self._requests[position])
            if wait_s > 0:
                await self._sleep(wait_s)
            else:
                self._pace.hold(position, self._requests[position])
        async with self._start:  # one at a time, so that other tasks run in between
            await asyncio.sleep(0)
        now_s = self._pace.sent(position)
        self._sending.add(position)
        return Lease(
            id=next(self._lease_ids),
            key_name="a header",
            secret=Secret(""),
            api_base=self._address,
            need=need,
            since_s=now_s,
        )

    def _settle(self, end: attempts.End, call: SubmittedCall) -> Outcome:
        """Note how an attempt ended; raises what ends the request."""
        position, ended = call.id.k, end.ended
        outcome = replace(end.outcome, suspect=None)  # there is no other key
        self._sending.discard(position)
        if ended is None:  # it was stopped
            return outcome
        is_announced = outcome.is_limit and outcome.retry_after_s is not None
        self.tries[position] += not (is_announced or outcome.kind is OutcomeKind.UNSENT)
        if outcome.kind.is_answer:  # handed on as it is
            return outcome
        reply = ended.as_refusal(self._clean) if isinstance(ended, RawReply) else None
        text = outcome.message if reply is None else reply.body.decode()
        self.errors[position] = text
        if reply is not None and self.ignore_error and self.ignore_error(text):
            raise _IgnoredError
        if outcome.is_limit:
            self._pace.cool(outcome, len(self._due) + len(self.api_jobs))
            outcome = replace(outcome, is_limit=is_announced)  # else an error like any other
        if call.context.stop.reason is not None:
            raise call.context.stop.reason
        if outcome.kind in {OutcomeKind.KEY_DEAD, OutcomeKind.NOT_HERE}:
            raise NoUsableKey(
                f"the server refuses the url or the key in the headers (status {outcome.status}, "
                f"{outcome.code}): {outcome.message}"
            )
        return outcome


class _IgnoredError(Exception):
    """The error that came is one to ignore."""


def _refuse_under_a_cap() -> None:
    run = OpenRun.newest()
    if run is not None and run.only_file is not None:
        run.only_file.admit_exchange()
    if run is not None and run.context.budget is not None:
        raise ConfigError(
            "max_cost: what ApiQueue sends has no price, so a run that is held to a cost cannot "
            "have it; use APIRequester or request_openai_api, or run without max_cost"
        )


class _NoPrices(PriceBook):
    """Looks nothing up: nothing here is bought under a cap."""

    def _model(self, name: str) -> KnownModel:
        del name
        return KnownModel()
