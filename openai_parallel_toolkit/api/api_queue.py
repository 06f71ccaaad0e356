"""Send ready-made requests to one address, at no more than so many tokens a minute."""

from __future__ import annotations

import asyncio
import copy
import functools
import itertools
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ..calls import attempts
from ..calls.models import make_request
from ..core.clock import Clock, SystemClock
from ..core.errors import NoUsableKey, UsageError
from ..core.records import Lease, Need, Outcome, OutcomeKind, RawReply, Request
from ..core.redaction import Redactor, Secret
from ..keys.window import SlidingWindow
from ..transport import SendFault, Transport
from ..transport.http import EndpointTransport

logger = logging.getLogger(__name__)

#: Connections that a process can have without touching its usual limit of open files.
_MOST_IN_FLIGHT = 500
#: Where the server does not say how long to wait after a 429.
_PAUSE_S = 5.0
#: These headers are no secret, and a shorter word stands in too many texts to mask it.
_PLAIN_HEADERS = frozenset({"accept", "content-type", "user-agent"})
_SHORTEST_SECRET = 8
#: Says so once when this many attempts in a row did not reach the server.
_UNREACHABLE_AFTER = 3


class ApiQueue:
    """Sends requests to one URL and gives their raw responses in order; lives on one event loop.

    The tokens of the requests sent within any 60 seconds never exceed `rate_limit`; they are
    estimated from the input, four bytes a token. Answers to chat completions and embeddings are
    told from errors.
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
            max_retries: re-sends of a request after an error; limits (429) do not count.
            transport: what sends; None: HTTP to `url` with `headers`.
            clock: None: the system's.
            sleep: waits so many seconds.
            chance: for the jitter of pauses; None: a fresh one.

        Raises:
            UsageError: a request is larger than `rate_limit`, or cannot be sent as JSON.
        """
        self._path = _path_of(url)
        self._requests = [_request(self._path, dict(body)) for body in request_jsons]
        for n, request in enumerate(self._requests):
            if request.prompt_tokens > rate_limit:
                raise UsageError(
                    f"request {n} has about {request.prompt_tokens:,} tokens, more than a minute's "
                    f"rate_limit of {rate_limit:,.0f}; shorten it or raise rate_limit",
                    position=n,
                )
        count = len(self._requests)
        #: Responses in the order of the requests; None: not there yet.
        self.out: list[dict[str, Any] | None] = [None] * count
        #: Each request's last error; None: it had none.
        self.errors: list[str | None] = [None] * count
        #: How often each request was sent; refusals for a limit do not count.
        self.tries: list[int] = [0] * count
        #: The tasks of the requests that are under way, by position.
        self.api_jobs: dict[int, asyncio.Task[dict[str, Any]]] = {}
        secrets = {name: Secret(value, name) for name, value in headers.items()}
        self._make_transport: Callable[[], Transport]
        self._make_transport = lambda: transport or EndpointTransport(url, secrets)
        self._transport: Transport | None = None
        self._url, self._clean = url, Redactor(_secrets_in(headers)).clean
        self._ignore_error = ignore_error
        # An answer that was lost counts as an error like any other.
        self._policy = attempts.Policy(max_retries=max_retries, max_unknown=max_retries)
        self._clock = clock or SystemClock()
        self._sleep, self._chance = sleep, chance or random.Random()
        self._window = SlidingWindow(rate_limit)
        self._cool_until_s = self._clock.now_s()
        self._lease_ids = itertools.count(1)
        self._todo = deque(range(count))
        #: Positions that hold tokens of the window, and those that are being sent.
        self._booked: set[int] = set()
        self._sending: set[int] = set()
        self._unreached = 0
        self._moved, self._start = asyncio.Event(), asyncio.Lock()
        self._failure: Exception | None = None

    @property
    def waiting_on(self) -> list[asyncio.Task[dict[str, Any]]]:
        """The tasks that are waited for."""
        return list(self.api_jobs.values())

    async def run(self) -> list[dict[str, Any]]:
        """Send everything and return the responses in the order of the requests.

        Called again after an error, it goes on with what is missing.

        Raises:
            RequestFailed: a request had more than `max_retries` errors, or will never be accepted;
                what was answered is in `out`.
            NoUsableKey: the key in the headers is refused.
        """
        try:
            while self._todo and self._failure is None:
                self.submit_jobs()
                if self._todo:
                    await self._change()
            await self.collect_jobs()
        except asyncio.CancelledError:
            await self._abandon()
            raise
        return [response for response in self.out if response is not None]

    def submit_jobs(self) -> None:
        """Start as many requests as the limit allows now, and return."""
        while self._todo and len(self.api_jobs) < _MOST_IN_FLIGHT:
            if self._wait_s(self._todo[0]) > 0:
                return
            position = self._todo.popleft()
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
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.close()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    async def _change(self) -> None:
        """Wait until another request may start, or a job has ended."""
        self._moved.clear()
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._moved.wait())]
        wait_s = self._wait_s(self._todo[0])
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
            self._todo.append(position)
        if isinstance(failure, Exception):
            self._stop(failure)
        self._moved.set()

    def _stop(self, failure: Exception) -> None:
        """Start nothing more; but what is being sent may be billed, so its answer is waited for."""
        if self._failure is not None:
            return
        self._failure = failure
        for position, task in self.api_jobs.items():
            if position not in self._sending:
                task.cancel()

    async def _abandon(self) -> None:
        tasks = self.waiting_on
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.close()

    # -- one request ---------------------------------------------------------------------------

    async def _response(self, position: int) -> dict[str, Any]:
        """Follow the decisions of `flow` until there is a response."""
        steps = attempts.ask(
            self._requests[position],
            self._policy,
            max_cost_usd=None,
            clock=self._clock,
            chance=self._chance,
            clean=self._clean,
        )
        told: Any = None
        while True:
            try:
                step = steps.send(told)
            except StopIteration as stop:
                return dict(stop.value.raw)
            told = None
            if isinstance(step, attempts.Admit):
                told = await self._admit(position, step.need)
            elif isinstance(step, attempts.Send):
                told = ended = await self._send(position, step)
            elif isinstance(step, attempts.Keep):
                self.tries[position] += 1
            elif isinstance(step, attempts.End):
                if self._ends(position, step.outcome, ended):
                    return copy.deepcopy(_EMPTY[self._path])
            elif isinstance(step, attempts.Pause):
                await self._sleep(step.seconds)

    async def _admit(self, position: int, need: Need) -> Lease:
        """Wait for the limit, if there is no place booked, and use the place."""
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
        self._window.sent(self._requests[position].prompt_tokens, now_s)
        return Lease(
            id=next(self._lease_ids),
            key_name="a header",
            secret=Secret(""),
            api_base=self._url,
            need=need,
            since_s=now_s,
        )

    async def _send(self, position: int, step: attempts.Send) -> RawReply | SendFault:
        if self._transport is None:
            self._transport = self._make_transport()
        self._sending.add(position)
        ended: RawReply | SendFault
        try:
            request = self._requests[position]
            ended = await self._transport.send(request, step.lease, timeout_s=step.timeout_s)
        except SendFault as fault:
            ended = fault
        finally:
            self._sending.discard(position)
        self._say_if_unreachable(ended)
        return ended

    def _say_if_unreachable(self, ended: RawReply | SendFault) -> None:
        is_unsent = isinstance(ended, SendFault) and ended.kind == "unsent"
        self._unreached = self._unreached + 1 if is_unsent else 0
        if self._unreached == _UNREACHABLE_AFTER:
            logger.warning(
                "%s cannot be reached (%s); trying again. Check the url and, behind a firewall, "
                "HTTPS_PROXY.",
                urlsplit(self._url).hostname,
                self._clean(str(ended)),
                extra={"action": "unreachable"},
            )

    def _ends(self, position: int, outcome: Outcome, ended: RawReply | SendFault) -> bool:
        """Note an attempt without an answer; return whether its error is one to ignore.

        Raises:
            NoUsableKey: the key is refused.
        """
        text = ended.body.decode(errors="replace") if isinstance(ended, RawReply) else ended.reason
        self.errors[position] = text = self._clean(text)
        if outcome.is_limit:
            pause_s = min(outcome.retry_after_s or _PAUSE_S, attempts.LONGEST_PAUSE_S)
            self._cool_until_s = max(self._cool_until_s, self._clock.now_s() + pause_s)
        elif outcome.kind is not OutcomeKind.UNSENT:
            self.tries[position] += 1
            if isinstance(ended, RawReply) and self._ignore_error and self._ignore_error(text):
                return True
        if self._failure is not None:
            raise self._failure
        if outcome.kind in {OutcomeKind.KEY_DEAD, OutcomeKind.NOT_HERE}:
            raise NoUsableKey(
                f"the server refuses the url or the key in the headers (status {outcome.status}, "
                f"{outcome.code}): {outcome.message}"
            )
        return False

    def _wait_s(self, position: int) -> float:
        now_s = self._clock.now_s()
        tokens = self._requests[position].prompt_tokens
        return max(self._window.ready_s(tokens, now_s), self._cool_until_s) - now_s

    def _book(self, position: int) -> None:
        self._booked.add(position)
        self._window.hold(self._requests[position].prompt_tokens)


#: What stands in for an error that is ignored.
_EMPTY: dict[str, dict[str, Any]] = {
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
    "/embeddings": {"object": "list", "data": []},
}


def _path_of(url: str) -> str:
    is_embeddings = urlsplit(url).path.rstrip("/").endswith("/embeddings")
    return "/embeddings" if is_embeddings else "/chat/completions"


def _request(path: str, body: dict[str, Any]) -> Request:
    return make_request(path, str(body.get("model", "")), body)


def _secrets_in(headers: Mapping[str, str]) -> list[Secret]:
    """Return what must be masked, without the "Bearer" before it."""
    return [
        Secret(word, name)
        for name, value in headers.items()
        for word in value.split()
        if name.lower() not in _PLAIN_HEADERS and len(word) >= _SHORTEST_SECRET
    ]
