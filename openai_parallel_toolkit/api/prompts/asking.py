"""Ask line after line, and write what came in the order of the lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from typing import IO, Any

from ...calls.call_list import CallList
from ...calls.responses import may_grow, read_answer, read_body
from ...calls.run_context import Deliver, SubmittedCall
from ...calls.sender import Sender
from ...calls.turns import Arrivals
from ...core.errors import HookUnwound, NoUsableKey, RequestFailed, ToolkitError, UsageError
from ...core.filesystem import as_toolkit_error
from ...core.logs import logger_of
from ...core.records import CallId, Reply, Request
from ...runs.session import RunSession
from .files import PromptLines
from .lines import PromptLine
from .options import PromptsOptions
from .output_order import ANSWERED, OutputOrder, Repeats
from .results import FailedLines, LineResult, mistake_in, output_line

logger = logger_of(__name__)

#: Names of fields that one warning tells.
_MOST_TOLD = 8
#: Output that may wait in memory for the lines before it; more is read from the journal again.
_MOST_WAITING_BYTES = 8 * 1024 * 1024
#: How often the caller looks around.
TICK_S = 0.2

#: A line on its way: its position in the order, and which of the equal requests it asks.
_BegunLine = tuple[int, PromptLine, int]


@dataclass(kw_only=True, eq=False)
class Asking:
    """The lines of one file on their way; used by one thread alone.

    In memory are the lines that are being asked, some output that waits for its turn, and a few
    bytes for each line that does: its answer waits in the journal, its failure in the file of
    failures.
    """

    #: Stands for the input in the journal.
    file_id: int
    session: RunSession
    sender: Sender
    options: PromptsOptions
    failed: FailedLines
    answered: int = 0
    _has_told: bool = False
    _order: OutputOrder = field(default_factory=OutputOrder)
    #: Output that waits for its turn, by the line's position, and its size.
    _waiting: dict[int, bytes] = field(default_factory=dict)
    _waiting_bytes: int = 0

    def __post_init__(self) -> None:
        self._arrived: Arrivals[Any] = Arrivals(self.sender.turns)
        #: Whether earlier runs have left answers, which may be all that is needed.
        self._has_earlier = self.session.journal.has_answers(self.file_id)

    def work(
        self,
        to_ask: Iterator[PromptLine],
        to_write: PromptLines,
        out: IO[bytes],
        look: Callable[[], bool],
    ) -> None:
        """Ask until all lines have an end, or the run is stopped and nothing is under way.

        Args:
            to_ask, to_write: the same lines, read independently.
            look: called often; False leaves what is under way to itself.
        """
        with closing(Repeats()) as repeats:
            begun, most = self._begun(to_ask, repeats), self.options.workers
            calls = CallList(begun, self._start, most, self._arrived.put)
            while look():
                try:
                    self._write(to_write, out)
                    if not calls.begin():
                        return
                    self._receive(calls)
                except (OSError, ToolkitError) as exc:  # what is under way is still taken in
                    self.session.stop.close(as_toolkit_error(exc, out.name))

    def _is_open(self) -> bool:
        return self.session.stop.reason is None

    def _begun(self, to_ask: Iterator[PromptLine], repeats: Repeats) -> Iterator[_BegunLine]:
        """Yield the lines with their positions while the run goes on."""
        while self._is_open() and (line := next(to_ask, None)) is not None:
            k = 0 if line.request is None else repeats.count(line.request.hash)
            self._tell_own(line)
            yield self._order.begin(k), line, k

    def _tell_own(self, line: PromptLine) -> None:
        if line.own and not self._has_told:
            self._has_told = True
            logger.warning(
                "%s, line %d: not sent are the fields %s, here and in other lines; they are taken "
                "for your own. What the server is to get goes into extra_body",
                self.options.input_path,
                line.number,
                ", ".join(line.own[:_MOST_TOLD]),
                extra={"action": "fields_not_sent"},
            )

    def _start(self, begun: _BegunLine, deliver: Deliver) -> None:
        _, line, k = begun
        if line.request is None:
            assert line.mistake is not None
            deliver(line.mistake)
            return
        call, kept = self._call(line.request, k), None
        if self._has_earlier:
            call, kept = self._last_try(line, line.request, call)
        if kept is None:
            submitted = SubmittedCall(request=line.request, id=call, context=self.session.context)
            self.sender.submit(submitted, deliver)
        else:
            self.session.context.tally.replayed()
            deliver(kept)

    def _receive(self, calls: CallList[_BegunLine]) -> None:
        """Take in what has come; wait a moment for the first."""
        patience_s = TICK_S
        with suppress(TimeoutError):
            while True:
                (position, line, _), result = self._arrived.get(patience_s)
                patience_s = 0
                calls.took()
                mistake = mistake_in(line, result) if isinstance(result, Reply) else result
                if mistake is not None:
                    self._not_answered(position, line, mistake)
                else:
                    self._order.end(position, ANSWERED)
                    self.answered += 1
                    self._keep_waiting(position, line, result)

    def _keep_waiting(self, position: int, line: PromptLine, reply: Reply) -> None:
        if self._waiting_bytes < _MOST_WAITING_BYTES:
            told = output_line(self.options.output_format, line, reply)
            self._waiting[position] = told
            self._waiting_bytes += len(told)

    def _not_answered(self, position: int, line: PromptLine, error: BaseException) -> None:
        is_its_own = (
            error is line.mistake
            or isinstance(error, RequestFailed)
            or (isinstance(error, NoUsableKey) and self.sender.keys.has_usable())
        )
        if is_its_own and isinstance(error, ToolkitError):
            where = self.failed.add_line(line, error, self.sender.keys.redactor.clean)
            self._order.end(position, where)
        elif not isinstance(error, HookUnwound):
            self.session.stop.close(error)

    def _write(self, to_write: PromptLines, out: IO[bytes]) -> None:
        """Write the lines whose turn has come, for everybody to see."""
        while self._is_open() and (turn := self._order.take()) is not None:
            position, k, end = turn
            told = self._waiting.pop(position, None)
            if told is not None and to_write.skip():
                self._waiting_bytes -= len(told)
            else:
                line, result = self._result_of(next(to_write, None), k, end)
                told = output_line(self.options.output_format, line, result)
            out.write(told)
        if self._is_open():
            out.flush()

    def _result_of(
        self, line: PromptLine | None, k: int, end: int
    ) -> tuple[PromptLine, LineResult]:
        """Return a line and what it came to, read back from the disk."""
        if line is not None and end != ANSWERED:
            return line, self.failed.at(end)
        if line is not None and line.request is not None:
            _, answer = self._last_try(line, line.request, self._call(line.request, k))
            if answer is not None:
                return line, answer
        raise UsageError("the input was changed meanwhile; run again: no answer is paid twice")

    def _call(self, request: Request, k: int) -> CallId:
        former = (request.former_hash, k) if request.former_hash else None
        return CallId(file_id=self.file_id, hash=request.hash, k=k, former=former)

    def _last_try(
        self, line: PromptLine, request: Request, call: CallId
    ) -> tuple[CallId, Reply | None]:
        """Return the last try of a line and its answer; those before it were of no use."""
        while (reply := self._kept(call, request)) and (
            mistake_in(line, reply) is not None or (reply.is_earlier and may_grow(reply, request))
        ):
            call = replace(call, attempt_try=call.attempt_try + 1)
        return call, reply

    def _kept(self, call: CallId, request: Request) -> Reply | None:
        stored = self.session.journal.answer(call)
        raw = None if stored is None else read_body(stored.body())
        clean = self.sender.keys.redactor.clean
        reply = (
            None
            if raw is None
            else read_answer(request.path, raw, clean=clean, asked_model=request.model)
        )
        if stored is None or reply is None or reply.is_whole:
            return reply
        return replace(reply, is_earlier=self.session.journal.is_earlier(stored.attempt_id))
