"""Suspend the hooks of files that ask for answers which are not there, and wake them again."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from ..batch import BatchScheduler
from ..batch.service.check import OPENAI_URLS, inputs_of
from ..calls.client_requests import asked_whole
from ..calls.file_calls import FileCalls
from ..calls.sender import Sender
from ..core.errors import (
    NotAnsweredYet,
    OutcomeUnknown,
    RequestFailed,
    RequestRejected,
    RunStopping,
)
from ..core.logs import logger_of
from ..core.records import CallId, FailureNote, OutcomeKind, Request
from ..core.text import counted
from ..costs.prices import PriceBook
from ..files.plan import DueFile
from ..journal.batch_rows import Ask, Refusal
from .dry_run import planned_calls
from .folder_session import FolderSession
from .hooks import Hooks

logger = logger_of(__name__)

#: Bytes of a hash that mark an ask, and how many asks of a round are marked.
_MARK_BYTES = 8
_MOST_MARKS = 64
#: Files that are woken at a time.
_MOST_READY = 1_000


class PendingRequests:
    """What a file's hooks have asked for in one round and did not get.

    One lock guards the list and its end: hooks may ask from several threads.
    """

    def __init__(self, prices: PriceBook, refusals: Mapping[tuple[str, int, int], Refusal]) -> None:
        self._prices = prices
        self._refusals = refusals
        self._lock = threading.Lock()
        self._open: list[Ask] = []
        self._is_closed = False

    def __call__(self, call_id: CallId, request: Request) -> BaseException | None:
        """Note a call that has no answer, and return what it raises; None: it is sent live."""
        if not _can_be_batched(request):
            logger.info("a call of %s is sent live: the Batch API does not take it", request.path)
            return None
        refusal = self._refusals.get((call_id.hash, call_id.k, call_id.attempt_try))
        if refusal is not None:
            return _error(refusal)
        cost_usd = self._prices.max_cost_usd(request, is_batch=True)
        with self._lock:
            if self._is_closed:
                return RunStopping()
            self._open.append(Ask(call_id, asked_whole(request), cost_usd, _inputs_of(request)))
        return NotAnsweredYet()

    def close(self) -> bool:
        """Take no ask any more, if there was none; return whether there was none."""
        with self._lock:
            self._is_closed = not self._open
            return self._is_closed

    def open(self) -> list[Ask]:
        """Return the asks so far."""
        with self._lock:
            return list(self._open)


@dataclass(kw_only=True, eq=False)
class BatchSuspension:
    """Hands the asks of files to the batch scheduler, and tells which files can go on.

    One lock guards `_is_steady`.
    """

    hooks: Hooks
    session: FolderSession
    scheduler: BatchScheduler
    live: Sender
    #: How often a file is suspended at most.
    max_rounds: int
    #: Whether what needs more rounds is then asked live; else it fails.
    finishes_live: bool

    def __post_init__(self) -> None:
        self._store = self.session.journal.batches
        self._lock = threading.Lock()
        #: Whether some file's hooks were seen to ask for the same twice.
        self._is_steady = False

    def asks(self, file_id: int) -> PendingRequests | None:
        """Return where a file's asks go in the round that begins; None: they are sent live."""
        rounds, _ = self._store.round_of(file_id)
        if self.finishes_live and rounds >= self.max_rounds:
            return None
        return PendingRequests(self.session.prices, self._store.refusals(file_id))

    def suspend(self, path: str, file_calls: FileCalls, asks: list[Ask]) -> FailureNote | None:
        """Let a file wait for its asks; return why it cannot, else None."""
        rounds, last = self._store.round_of(file_calls.file_id)
        marks = [last[n : n + _MARK_BYTES] for n in range(0, len(last), _MARK_BYTES)]
        if marks and not any(file_calls.has_asked(mark) for mark in marks):
            return _note(_UNSTEADY)
        if not marks and not self._asks_the_same(path, file_calls, asks):
            return _note(_UNSTEADY)
        if rounds >= self.max_rounds:
            return _note(_TOO_MANY_ROUNDS.format(counted(self.max_rounds, "time")))
        asked = b"".join(bytes.fromhex(ask.call.hash)[:_MARK_BYTES] for ask in asks[:_MOST_MARKS])

        def done(error: BaseException | None) -> None:
            if error is not None:
                raise error  # kept by the journal as its trouble
            self.scheduler.changed.set()

        self._store.suspend(file_calls.file_id, rounds + 1, asked, asks, done)
        return None

    def ready(self) -> list[DueFile]:
        """Return files whose answers are there; each once."""
        found = self._store.take_ready(_MOST_READY)
        return [DueFile(path, is_known=True) for _, path in found]

    def _asks_the_same(self, path: str, file_calls: FileCalls, asks: list[Ask]) -> bool:
        """Run the hooks of the first file once more, before anything is paid for it."""
        with self._lock:
            if self._is_steady:
                return True
        again = planned_calls(path, self.hooks, self.session, self.live, answers=file_calls.answers)
        if not again.requests:  # process_output asks: that is compared in the next round
            return True
        before = {ask.call.hash for ask in asks}
        is_same = any(request.hash in before for request in again.requests)
        with self._lock:
            self._is_steady = self._is_steady or is_same
        return is_same


def _can_be_batched(request: Request) -> bool:
    is_plain = request.content_type == "application/json" and not (request.headers or request.query)
    return is_plain and f"/v1{request.path}" in OPENAI_URLS


def _inputs_of(request: Request) -> int:
    is_embedding = request.path == "/embeddings"
    return inputs_of(json.loads(request.body)) if is_embedding else 1


_UNSTEADY = (
    "the hooks ask for something new each time they are run (a time, a random number or an "
    'unsorted set in the prompt?): in mode="batch" they are run again from the start when answers '
    'have come, so they must ask for the same again; mend them, or use mode="live"'
)
_TOO_MANY_ROUNDS = (
    "the hooks have waited for answers {} (max_batch_rounds) and ask for more: ask for what "
    "does not depend on each other at once, with multi_process_one; or raise max_batch_rounds, or "
    'use finish="live"'
)


def _note(message: str) -> FailureNote:
    return FailureNote(kind="BatchRounds", message=message)


def _error(refusal: Refusal) -> RequestFailed:
    kinds = {OutcomeKind.REJECTED: RequestRejected, OutcomeKind.UNKNOWN: OutcomeUnknown}
    status = f", status {refusal.status}" if refusal.status else ""
    attempts = f"got no answer in {counted(refusal.attempts, 'attempt')} in batches{status}"
    return kinds.get(refusal.kind, RequestFailed)(
        f"request {attempts if refusal.attempts else 'was put into no batch'}: "
        f"{refusal.message or refusal.code}",
        outcome=refusal.kind,
        code=refusal.code,
        status=refusal.status,
        attempts=refusal.attempts,
        maybe_billed=int(refusal.kind is OutcomeKind.UNKNOWN),
        request_id="",
    )
