"""Send ready-made requests to one address, at no more than so many tokens a minute."""

from __future__ import annotations

import asyncio
import copy
import functools
import itertools
import json
import logging
import random
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from ..calls import attempts
from ..calls.driver import CallDriver
from ..calls.models import make_request
from ..calls.open_runs import OpenRun
from ..calls.responses import KNOWN_PATHS
from ..calls.run_context import RunContext, StopToken, SubmittedCall
from ..core.clock import Clock, SystemClock
from ..core.errors import ConfigError, NoUsableKey, ToolkitError, UsageError
from ..core.loop_calls import LoopCalls
from ..core.records import CallId, Lease, Need, Outcome, OutcomeKind, RawReply, Request
from ..core.redaction import Redactor, Secret
from ..core.text import counted, duration
from ..costs.prices import KnownModel, PriceBook
from ..costs.tokens import num_tokens_from_string
from ..keys.bucket import SlidingWindow
from ..transport import Transport
from ..transport.http import EndpointTransport

logger = logging.getLogger(__name__)

#: Connections that a process can have without touching its usual limit of open files.
_MOST_IN_FLIGHT = 500
#: What counting may take, a vocabulary's download included; then the estimates stand.
_COUNTING_S = 30.0
#: Where the server does not say how long to wait after a 429.
_PAUSE_S = 5.0
#: These headers are no secret, and a shorter word stands in too many texts to mask it.
_PLAIN_HEADERS = frozenset({"accept", "content-type", "user-agent"})
_SHORTEST_SECRET = 8


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
        self._path = _path_of(url)
        self._requests = [
            make_request(self._path, str(body.get("model", "")), dict(body))
            for body in request_jsons
        ]
        for n, request in enumerate(self._requests):
            if request.prompt_tokens > rate_limit:
                self._requests[n] = self._fitting(n, _counted(request, request_jsons[n]))
        count = len(self._requests)
        #: Responses in the order of the requests; None: not there yet.
        self.out: list[dict[str, Any] | None] = [None] * count
        #: Each request's last error; None: it had none.
        self.errors: list[str | None] = [None] * count
        #: How often each request was sent; refusals for an announced limit do not count.
        self.tries: list[int] = [0] * count
        #: The tasks of the requests that are under way, by position.
        self.api_jobs: dict[int, asyncio.Task[dict[str, Any]]] = {}
        secrets = {name: Secret(value, name) for name, value in headers.items()}
        self._is_counted = False
        self._transport: Callable[[], Transport]
        self._transport = lambda: transport or EndpointTransport(url, secrets)
        self._driver: CallDriver | None = None
        # An answer that was lost counts as an error like any other.
        policy = attempts.Policy(max_retries=max_retries, max_unknown=max_retries)
        #: Its stop token is closed by what ends the run, and made anew for the next.
        self._context = RunContext(policy=policy, prices=_NoPrices({}))
        self._clock = clock or SystemClock()
        self._chance = chance or random.Random()
        self._clean = Redactor(_secrets_in(headers)).clean
        self._address = urlsplit(url).hostname or ""
        self._sleep = sleep
        self._window = SlidingWindow(rate_limit)
        self._cool_until_s = self._clock.now_s()
        self._lease_ids = itertools.count(1)
        self._due = deque(range(count))
        #: Positions that hold tokens of the window, and those that are being sent.
        self._booked: set[int] = set()
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
        await self._count()
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
            if self._wait_s(self._due[0]) > 0:
                return
            position = self._due.popleft()
            self._book(position)
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

    async def _count(self) -> None:
        """Have the tokens of what waits counted, once, without holding up the event loop."""
        if self._is_counted or not self._due:
            return
        self._is_counted = True
        waiting = list(self._due)
        future, settle = LoopCalls(asyncio.get_running_loop()).future()
        requests, bodies = self._requests, self.request_jsons

        def count() -> None:
            settle([_counted(requests[n], bodies[n]) for n in waiting])

        threading.Thread(target=count, name="count tokens", daemon=True).start()
        try:
            found = await asyncio.wait_for(future, _COUNTING_S)
        except asyncio.TimeoutError:
            return
        for n, request in zip(waiting, found, strict=True):
            if n not in self.api_jobs:
                self._requests[n] = self._fitting(n, request)

    def _fitting(self, position: int, request: Request) -> Request:
        if request.prompt_tokens > self.rate_limit:
            raise UsageError(
                f"request {position} has about {request.prompt_tokens:,} tokens, more than a "
                f"minute's rate_limit of {self.rate_limit:,.0f}; shorten it or raise rate_limit",
                position=position,
            )
        return request

    async def _change(self) -> None:
        """Wait until another request may start, or a job has ended."""
        self._moved.clear()
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._moved.wait())]
        wait_s = self._wait_s(self._due[0])
        if wait_s > 0:
            waits.append(asyncio.ensure_future(self._sleep(wait_s)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _ended(self, position: int, task: asyncio.Task[dict[str, Any]]) -> None:
        del self.api_jobs[position]
        if position in self._booked:
            self._booked.discard(position)
            self._window.release(self._requests[position].prompt_tokens)
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
            return copy.deepcopy(dict(_EMPTY[self._path]))

    async def _admit(self, need: Need, call: SubmittedCall) -> Lease:
        """Wait for the limit, if there is no place booked, and use the place."""
        position = call.id.k
        while position not in self._booked:
            wait_s = self._wait_s(position)
            if wait_s > 0:
                await self._sleep(wait_s)
            else:
                self._book(position)
        async with self._start:  # one at a time, so that other tasks run in between
            await asyncio.sleep(0)
        now_s = self._clock.now_s()
        self._booked.discard(position)
        self._window.sent(call.request.prompt_tokens, now_s)
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
            self._cool(outcome)
            outcome = replace(outcome, is_limit=is_announced)  # else an error like any other
        if call.context.stop.reason is not None:
            raise call.context.stop.reason
        if outcome.kind in {OutcomeKind.KEY_DEAD, OutcomeKind.NOT_HERE}:
            raise NoUsableKey(
                f"the server refuses the url or the key in the headers (status {outcome.status}, "
                f"{outcome.code}): {outcome.message}"
            )
        return outcome

    def _cool(self, outcome: Outcome) -> None:
        """Send nothing for a while, as the server asks, or for some seconds."""
        now_s = self._clock.now_s()
        pause_s = min(outcome.retry_after_s or _PAUSE_S, attempts.LONGEST_PAUSE_S)
        if outcome.retry_after_s and now_s >= self._cool_until_s:
            logger.warning(
                "%s is limited: nothing is sent for %s, as the server asks (%s waiting)",
                self._address,
                duration(pause_s),
                counted(len(self._due) + len(self.api_jobs), "request"),
                extra={"action": "limited"},
            )
        self._cool_until_s = max(self._cool_until_s, now_s + pause_s)

    def _wait_s(self, position: int) -> float:
        now_s = self._clock.now_s()
        tokens = self._requests[position].prompt_tokens
        return max(self._window.ready_s(tokens, now_s), self._cool_until_s) - now_s

    def _book(self, position: int) -> None:
        self._booked.add(position)
        self._window.hold(self._requests[position].prompt_tokens)


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


class MaskedHeaders(dict[str, str]):
    """Headers whose values do not show themselves."""

    def __repr__(self) -> str:
        return repr({name: f"[{name}]" for name in self})


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


def _path_of(url: str) -> str:
    """Return by which API's rules the answers are read; a chat's where the URL names none."""
    path = urlsplit(url).path.rstrip("/")
    return next((known for known in KNOWN_PATHS if path.endswith(known)), "/chat/completions")


def _counted(request: Request, body: Mapping[str, Any]) -> Request:
    """Return a request with its tokens counted, or as it is where that cannot be done."""
    if request.media is not None:  # base64 is no text
        return request
    try:
        text = json.dumps(body, ensure_ascii=False)
        return replace(request, prompt_tokens=num_tokens_from_string(text, request.model))
    except (ToolkitError, ImportError):
        return request


def _secrets_in(headers: Mapping[str, str]) -> list[Secret]:
    """Return what must be masked, without the "Bearer" before it."""
    return [
        Secret(word, name)
        for name, value in headers.items()
        for word in value.split()
        if name.lower() not in _PLAIN_HEADERS and len(word) >= _SHORTEST_SECRET
    ]
