"""Ask line after line, and write what came in the order of the lines."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import IO, Any

from ...calls.responses import Answer, parse_object, read_answer
from ...calls.run_context import RunContext
from ...calls.sender import Call, Sender
from ...core.errors import HookUnwound, NoUsableKey, RequestFailed, ToolkitError, UsageError
from ...core.filesystem import as_toolkit_error
from ...core.records import CallId, Request
from ...journal import Journal
from .failures import FailedLines, Failure
from .formats import Came, output_line
from .lines import Line
from .output_order import ANSWERED, OutputOrder, Repeats

#: How often the caller looks around.
TICK_S = 0.2


class Asking:
    """The lines of one file on their way; used by one thread alone.

    In memory are the lines that are being asked, and a few bytes for each that waits for its turn:
    its answer waits in the journal, its failure in the file of failures.
    """

    def __init__(
        self,
        *,
        file_id: int,
        journal: Journal,
        sender: Sender,
        context: RunContext,
        most: int,
        format: str,
        failed: FailedLines,
    ) -> None:
        """Take what is needed.

        Args:
            file_id: stands for the input in the journal.
            most: requests under way at a time.
            format: of the output's lines.
        """
        self.answered = 0
        self._file_id = file_id
        self._journal = journal
        self._sender = sender
        self._context = context
        self._most = most
        self._format = format
        self._failed = failed
        self._turns = OutputOrder()
        self._under_way = 0
        self._arrived: queue.SimpleQueue[tuple[int, Line, Any]] = queue.SimpleQueue()

    def work(
        self,
        to_ask: Iterator[Line],
        to_write: Iterator[Line],
        out: IO[bytes],
        look: Callable[[], bool],
    ) -> None:
        """Ask until all lines have an end, or the gate is closed and nothing is under way.

        Args:
            to_ask, to_write: the same lines, read independently.
            look: called often; False leaves what is under way to itself.
        """
        with closing(Repeats()) as repeats:
            while look():
                is_begun = False
                try:
                    self._write(to_write, out)
                    is_begun = self._begin_next(to_ask, repeats)
                    if not (is_begun or self._under_way):
                        return
                    self._receive(is_patient=not is_begun)
                except (OSError, ToolkitError) as exc:  # what is under way is still taken in
                    self._context.stop.close(as_toolkit_error(exc, out.name))

    def _is_open(self) -> bool:
        return self._context.stop.reason is None

    def _begin_next(self, to_ask: Iterator[Line], repeats: Repeats) -> bool:
        """Begin with one more line; False: there is no room or no line."""
        has_room = self._is_open() and self._under_way < self._most
        line = next(to_ask, None) if has_room else None
        if line is None:
            return False
        self._begin(line, repeats)
        return True

    def _begin(self, line: Line, repeats: Repeats) -> None:
        request = line.request
        if request is None:
            assert line.mistake is not None
            self._fail(self._turns.begin(0), line, line.mistake)
            return
        call = self._call_id(request, repeats.count(request.hash))
        position = self._turns.begin(call.k)
        if self._kept(call, request) is not None:
            self._context.tally.replayed()
            self._end(position)
            return

        def deliver(result: Any) -> None:
            self._arrived.put((position, line, result))

        self._under_way += 1
        self._sender.submit(Call(request=request, id=call, context=self._context, deliver=deliver))

    def _receive(self, *, is_patient: bool) -> None:
        """Take in what has arrived; when patient, wait a moment for the first."""
        try:
            while True:
                position, line, result = self._arrived.get(is_patient, TICK_S)
                is_patient = False
                self._under_way -= 1
                if isinstance(result, BaseException):
                    self._not_answered(position, line, result)
                else:
                    self._end(position)
        except queue.Empty:
            return

    def _not_answered(self, position: int, line: Line, error: BaseException) -> None:
        is_its_own = isinstance(error, RequestFailed) or (
            isinstance(error, NoUsableKey) and self._sender.keys.has_usable()
        )
        if is_its_own and isinstance(error, ToolkitError):
            self._fail(position, line, error)
        elif not isinstance(error, HookUnwound):
            self._context.stop.close(error)

    def _fail(self, position: int, line: Line, error: ToolkitError) -> None:
        where = self._failed.add_line(line, Failure.of(error, self._sender.keys.redactor.clean))
        self._turns.end(position, where)

    def _end(self, position: int) -> None:
        self._turns.end(position, ANSWERED)
        self.answered += 1

    def _write(self, to_write: Iterator[Line], out: IO[bytes]) -> None:
        """Write the lines whose turn has come, for everybody to see."""
        while self._is_open() and (turn := self._turns.take()) is not None:
            out.write(output_line(self._format, *self._came(next(to_write, None), *turn)))
        if self._is_open():
            out.flush()

    def _came(self, line: Line | None, k: int, end: int) -> tuple[Line, Came]:
        """Return a line and what came for it, read back from the disk."""
        if line is not None and end != ANSWERED:
            return line, self._failed.failure_at(end)
        if line is not None and line.request is not None:
            answer = self._kept(self._call_id(line.request, k), line.request)
            if answer is not None:
                return line, answer
        raise UsageError("the input was changed meanwhile; run again: no answer is paid twice")

    def _call_id(self, request: Request, k: int) -> CallId:
        return CallId(file_id=self._file_id, hash=request.hash, k=k)

    def _kept(self, call: CallId, request: Request) -> Answer | None:
        stored = self._journal.answer(call)
        raw = None if stored is None else parse_object(stored.body())
        return None if raw is None else read_answer(request.path, raw)
