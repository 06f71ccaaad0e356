"""Keep so many calls of a list under way at a time: begun in order, replayed, asked again."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from ..core.errors import HookUnwound, RunStopping
from .pending_call import AnswerPolicy, CallContext, PendingCall
from .run_context import Deliver

Item = TypeVar("Item")


class CallList(Generic[Item]):
    """At most `most` calls under way.

    One thread, or one event loop, asks; what comes is put, from any thread, to where it takes it.
    """

    def __init__(
        self,
        items: Iterable[Item],
        start: Callable[[Item, Deliver], None],
        most: int,
        put: Callable[[tuple[Item, Any]], object],
    ) -> None:
        """Begin nothing yet.

        Args:
            start: has an item asked, and told what came of it.
            put: takes an item and what came of it.
        """
        self._items = iter(items)
        self._start = start
        self._most = most
        self._put = put
        self.under_way = 0

    def begin(self) -> bool:
        """Begin with as many as there is room for; False: all have ended."""
        while self.under_way < self._most:
            item = next(self._items, None)
            if item is None:
                break
            self.ask(item)
        return self.under_way > 0

    def ask(self, item: Item) -> None:
        """Ask an item, for the first time or again."""
        self.under_way += 1
        self._start(item, functools.partial(self._deliver, item))

    def took(self) -> None:
        """Note that what came of one call was taken from where it was put."""
        self.under_way -= 1

    def stop(self) -> None:
        """Begin nothing more."""
        self._items = iter(())

    def _deliver(self, item: Item, result: Any) -> None:
        self._put((item, result))


class PendingCalls(CallList[tuple[int, PendingCall]]):
    """A list of pending calls, each with its position, until their answers are good."""

    def __init__(
        self,
        call_context: CallContext,
        policy: AnswerPolicy,
        calls: Iterable[tuple[int, PendingCall]],
        most: int,
        put: Callable[[tuple[tuple[int, PendingCall], Any]], object],
    ) -> None:
        super().__init__(calls, lambda item, put: call_context.start(item[1], put), most, put)
        self._call_context = call_context
        self._policy = policy
        self._unwound: HookUnwound | None = None

    def end(self, came: tuple[tuple[int, PendingCall], Any]) -> tuple[int, Any, Any] | None:
        """Take in what came; return position, value and error of a call that ended.

        None: it did not end, or only because nothing may be sent now.
        """
        (n, call), result = came
        self.took()
        try:
            if not call.accepts(self._call_context.received(result), self._policy):
                self.ask((n, call))
                return None
        except HookUnwound as exc:
            self._unwound = exc
            if isinstance(exc, RunStopping):
                self.stop()
            return None
        except BaseException as exc:  # noqa: BLE001 - raised when the others have ended
            return n, None, exc
        return n, call.value, None

    def check(self) -> None:
        """Raise what unwinds the hooks, once all have ended."""
        if self._unwound is not None:
            raise self._unwound
