"""Send calls live that a batch came back without."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ..calls.models import make_request
from ..calls.run_context import RunContext, SubmittedCall
from ..calls.sender import Sender
from ..core.errors import HookUnwound, RequestFailed
from ..core.records import Reply
from ..journal.batch_rows import Refusal, ReturnedLine
from ..journal.batch_store import BatchStore

#: Sent at a time.
_MOST = 200


@dataclass(eq=False)
class LiveFallback:
    """Used by the batch scheduler's thread alone; answers are delivered from the sender's."""

    store: BatchStore
    live: Sender
    context: RunContext

    def __post_init__(self) -> None:
        self._under_way: dict[int, ReturnedLine] = {}
        self._results: deque[tuple[int, Reply | BaseException]] = deque()
        self._last_id = 0

    def is_busy(self) -> bool:
        """Return whether any is under way."""
        return bool(self._under_way)

    def send(self, on_answer: Callable[[], None]) -> bool:
        """Take in what has come, send more; return whether any is under way.

        Args:
            on_answer: called from another thread for each answer, which the next `send` takes in.
        """
        self._take_in()
        room = _MOST - len(self._under_way)
        for line in self.store.returned_lines(self._last_id, room) if room else ():
            self._last_id = line.id
            self._under_way[line.id] = line
            kept = line.request
            request = make_request(kept.path, kept.model, json.loads(kept.body))
            call = SubmittedCall(request=request, id=line.call, context=self.context)
            self.live.submit(call, partial(self._deliver, line.id, on_answer))
        return self.is_busy()

    def _deliver(
        self, line_id: int, on_answer: Callable[[], None], result: Reply | BaseException
    ) -> None:
        self._results.append((line_id, result))
        on_answer()

    def _take_in(self) -> None:
        ends: dict[int, Refusal | None] = {}
        while self._results:
            line_id, result = self._results.popleft()
            line = self._under_way.pop(line_id)
            if isinstance(result, Reply):
                ends[line_id] = None
            elif isinstance(result, RequestFailed):
                ends[line_id] = _refusal(line, result)
            elif not isinstance(result, HookUnwound):
                self.context.stop.close(result)
        if ends:
            self.store.end_returned(ends)
        if not self._under_way:
            self._last_id = 0  # those that come back later may be older


def _refusal(line: ReturnedLine, error: RequestFailed) -> Refusal:
    return Refusal(
        kind=error.outcome,
        code=error.code,
        message=error.message,
        status=error.status,
        attempts=line.sends + error.attempts,
    )
