"""Keep so many calls of a list under way at a time: begun in order, replayed, asked again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..core.errors import HookUnwound, RunStopping
from ..core.records import Reply
from .models import OpenAIModel
from .own_generate import GenerateCall, call_of
from .pending_call import AnswerPolicy, CallContext, ModelCall
from .run_context import Deliver
from .turns import Arrivals

_IDLE_S = 1.0
_Numbered = tuple[int, "ModelCall | GenerateCall"]
#: A call and what came of it.
_Arrival = tuple[_Numbered, "Reply | BaseException"]
Item = TypeVar("Item")


@dataclass(eq=False)
class CallList(Generic[Item]):
    """At most `most` calls under way.

    One thread, or one event loop, asks; what comes is put, from any thread, to where it takes it.
    """

    items: Iterator[Item]
    #: Has an item asked, and told what came of it.
    start: Callable[[Item, Deliver], None]
    most: int
    #: Takes an item and what came of it.
    put: Callable[[tuple[Item, Any]], object]
    under_way: int = 0

    def begin(self) -> bool:
        """Begin with as many as there is room for; False: all have ended."""
        while self.under_way < self.most:
            item = next(self.items, None)
            if item is None:
                break
            self.ask(item)
        return self.under_way > 0

    def ask(self, item: Item) -> None:
        """Ask an item, for the first time or again."""
        self.start(item, lambda result: self.put((item, result)))
        self.under_way += 1  # what cannot be begun is not waited for

    def took(self) -> None:
        """Note that what came of one call was taken from where it was put."""
        self.under_way -= 1

    def stop(self) -> None:
        self.items = iter(())


class ModelCalls:
    """The calls of a list of models: all asked, each until its answer is good."""

    def __init__(
        self,
        call_context: CallContext,
        policy: AnswerPolicy,
        models: Sequence[OpenAIModel],
        most: int,
    ) -> None:
        """Give every call its identity, in order; nothing is asked yet."""
        #: What the answers give, by position.
        self.values: list[Any] = [None] * len(models)
        #: What came instead; at first of those that cannot be sent.
        self.errors: dict[int, BaseException] = {}
        #: Those that can be sent, with their positions.
        self.calls: list[_Numbered] = []
        self._call_context = call_context
        self._policy = policy
        self._most = most
        self._unwound: HookUnwound | None = None
        for n, model in enumerate(models):
            try:
                self.calls.append((n, call_of(call_context, model)))
            except Exception as exc:  # noqa: BLE001 - `payload` is the user's
                self.errors[n] = exc

    def run(
        self, instead: str, on_end: Callable[[int], object], on_idle: Callable[[], object]
    ) -> None:
        """Ask them all, blocking.

        Args:
            instead: what to await in an async hook, where this would block.
            on_end: told the position of each that has ended; what it raises ends the list.
            on_idle: called when nothing has come for a second.

        Raises:
            HookUnwound: something may not be sent now; the others have ended.
        """
        file_calls = self._call_context.file_calls
        file_calls.refuse_on_own_loop(instead)
        arrived: Arrivals[_Arrival] = Arrivals(self._call_context.sender.turns)
        calls = self._list(arrived.put)
        with file_calls.in_call():
            while calls.begin():
                try:
                    self._take(calls, arrived.get(_IDLE_S), on_end)
                except TimeoutError:
                    on_idle()
        self._check()

    async def run_async(self, on_end: Callable[[int], object]) -> None:
        """Do what `run` does without blocking the event loop."""
        arrived: asyncio.Queue[_Arrival] = asyncio.Queue()
        loop_calls = self._call_context.sender.loop_calls_to(asyncio.get_running_loop())

        def put(arrival: _Arrival) -> None:
            with contextlib.suppress(RuntimeError):  # the asker and its loop are gone
                loop_calls.post(arrived.put_nowait, arrival)

        calls = self._list(put)
        with self._call_context.file_calls.in_call():
            while calls.begin():
                self._take(calls, await arrived.get(), on_end)
        self._check()

    def _list(self, put: Callable[[_Arrival], object]) -> CallList[_Numbered]:
        calls = iter(self.calls)
        return CallList(calls, lambda item, told: item[1].start(told), self._most, put)

    def _take(
        self, calls: CallList[_Numbered], arrival: _Arrival, on_end: Callable[[int], object]
    ) -> None:
        (n, call), result = arrival
        calls.took()
        try:
            if not call.accepts(self._call_context.received(result), self._policy):
                calls.ask((n, call))
                return
            self.values[n] = call.value
        except HookUnwound as exc:
            self._unwound = exc
            if isinstance(exc, RunStopping):
                calls.stop()
        except BaseException as exc:  # noqa: BLE001 - the list's owner raises it
            self.errors[n] = exc
        on_end(n)

    def _check(self) -> None:
        if self._unwound is not None:
            raise self._unwound
