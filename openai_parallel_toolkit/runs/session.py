"""The frame of a run, whatever it runs over: from the lock of its state to its summary."""

from __future__ import annotations

import os
import platform
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from decimal import Decimal
from types import TracebackType
from typing import Any, Literal, TypeVar

from ..calls.attempts import Policy
from ..calls.call_cache import open_journal
from ..calls.run_context import RunContext, StopToken
from ..core.clock import Clock
from ..core.command_line import started_as
from ..core.describe import words_of
from ..core.errors import ConfigError, RunStopped, ToolkitError
from ..core.filesystem import as_toolkit_error, storage_errors
from ..core.logs import logger_of
from ..core.open_file_limit import is_out_of_room
from ..core.redaction import guarded_logs
from ..core.signals import StopSignals
from ..core.text import counted, dollars, duration, visible
from ..costs.budget import Budget, Funds
from ..costs.figures import Cost
from ..files.run_control import RunControl
from ..files.run_progress import write_progress
from ..journal import Journal
from ..keys import APIKeyManager
from ..keys.config_watch import ConfigWatch
from .options import read_change
from .progress import ProgressFigures, Rates
from .summary import Summary

logger = logger_of(__name__)

SummaryT = TypeVar("SummaryT", bound=Summary)
#: How often others are told how the run stands.
_TELL_EVERY_S = 1.0

_NOTHING_BEGUN = "told to by {name}, before any work began."
SessionT = TypeVar("SessionT", bound="RunSession")


class RunSession:
    """What every run stands on, used by the thread that runs it; `stop` may be closed by any.

        with RunSession(state_folder, keys, clock=clock) as session:
            session.begin(version)
            with session.heeding(summary_of), OpenRun.opened(OpenRun(sender, session.context)):
                while there is work and not session.is_grace_over():
                    session.look()  # a few times a second, and show session.standing(...)
                summary = summary_of()  # with session.stopped
                session.end(summary)
            return session.hand_over(summary)

    Entering guards the logs, locks the private state folder, opens the journal in it and takes up
    which keys were dropped before. Leaving lets go of all that.
    """

    def __init__(
        self,
        state_folder: str,
        keys: APIKeyManager,
        *,
        clock: Clock,
        policy: Policy | None = None,
        max_cost: Decimal | None = None,
        grace_s: float = 0.0,
        log_file: str | None = None,
        prints: bool = False,
        keep_requests: bool = True,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            max_cost: USD for all runs with this journal; None: as much as it takes.
            grace_s: seconds for what is under way once the run is told to stop.
            log_file: where to append what is logged; None: nowhere.
            prints: whether `hand_over` prints the summary of a run that was stopped.
            keep_requests: whether requests are kept as they were sent, and not as a hash alone.
        """
        self.state_folder = state_folder
        self.keys = keys
        self.clock = clock
        self.prices = keys.prices
        #: Closed with what stops the run; then nothing more may be begun.
        self.stop = StopToken()
        #: Entered while work is under way; see `heeding`.
        self.signals = StopSignals()
        self._policy = policy or Policy()
        self._max_cost = max_cost
        self._grace_s = grace_s
        self._log_file = log_file
        self._prints = prints
        self._keep_requests = keep_requests
        #: Clock time, seconds, when progress is to be told again.
        self._told_until_s = 0.0
        #: What was finished when it was told first.
        self._began_with: int | None = None
        self._since_s = clock.now_s()
        self._stopping_since_s: float | None = None
        self._rates = Rates(clock)
        self._config_watch = ConfigWatch(keys, clock)
        self._control: RunControl | None = None
        #: Takes over how many files are to be under way at a time; None: this run has no such say.
        self.on_threads: Callable[[int | Literal["auto"]], None] | None = None
        self._stack = ExitStack()

    def __enter__(self: SessionT) -> SessionT:  # noqa: PYI019 - Self came with Python 3.11
        try:
            with storage_errors(self._log_file or ""):
                self._stack.enter_context(guarded_logs(self.keys.redactor, self._log_file))
            self._open(self._stack)
        except BaseException as exc:
            self.__exit__(type(exc), exc, exc.__traceback__)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of everything; what goes wrong there never hides `error`, which was first."""
        with storage_errors(self.state_folder):
            try:
                self._stack.__exit__(kind, error, trace)
            except (OSError, ToolkitError):
                if error is None:
                    raise
            if isinstance(error, OSError):
                raise error

    def _open(self, stack: ExitStack) -> None:
        self.journal: Journal = open_journal(self.state_folder, stack, self.clock)
        self.journal.keeps_requests = self._keep_requests
        self.journal.on_trouble(self.stop.close)
        self.keys.recall_drops(self.journal.salt, self.journal.dropped_keys())
        stack.callback(self.keys.on_drop(self._remember_drop))
        #: What the calls of the run share.
        self.context = self._new_context()

    def _remember_drop(self, name: str, reason: str) -> None:
        fingerprint = self.keys.fingerprints(self.journal.salt)[name]
        self.journal.key_dropped(fingerprint, name, reason)

    def _new_context(self) -> RunContext:
        budget = None
        if self._max_cost is not None:
            earlier = self.journal.totals().all_runs
            budget = Budget(self._max_cost, spent_usd=earlier.max_cost_usd)
            if earlier.unpriced:
                logger.warning(
                    "max_cost: %s of earlier runs had no known price and are not counted in",
                    counted(earlier.unpriced, "request"),
                )
        return RunContext(
            journal=self.journal,
            policy=self._policy,
            prices=self.prices,
            stop=self.stop,
            budget=budget,
        )

    def begin(self, version: str, settings: Mapping[str, Any] | None = None) -> None:
        """Open the run's record in the journal.

        Args:
            version: tells what changes its requests.
            settings: what the run was given, as JSON values; None: not told.
        """
        self._since_s = self.clock.now_s()
        told = {**(settings or {}), **_circumstances()}
        clean = self.keys.redactor.clean
        run_id = self.journal.begin_run(
            version, {n: clean(v) if isinstance(v, str) else v for n, v in told.items()}
        )
        logger.info("run %d begins in %s, as process %d", run_id, self.state_folder, os.getpid())
        self._control = RunControl(self.state_folder)
        self._stack.callback(self._control.close)

    # While work is under way

    @contextmanager
    def heeding(self, summary_of: Callable[[], Summary]) -> Iterator[None]:
        """Note a stop signal for the block; a second one ends it, with what was done by then."""
        with self.signals:
            try:
                yield
            except RunStopped as told_again:
                told_again.summary = summary_of()
                self.say(str(told_again.summary))
                raise

    def look(self) -> None:
        """Stop the run when a signal came, and take up edited keys and what `ctl` asks for.

        The journal stops it when its disk refuses.
        """
        self.keys.serve_due()
        if self._config_watch.look():
            self.keys.recall_drops(self.journal.salt, self.journal.dropped_keys())
        if self._control is not None:
            self._control.hear(self._take_up)
        if self.signals.received is not None:
            self.stop.close(KeyboardInterrupt())

    def _take_up(self, name: str, given: object) -> str:
        """Change a setting in mid-run, and say so; ValueError says why it is left as it is."""
        try:
            value = read_change(name, given)
        except ConfigError as exc:
            raise ValueError(str(exc)) from exc
        if name == "num_threads":
            if self.on_threads is None:
                raise ValueError(
                    "threads: this run has none to set; its pace follows from the keys"
                )
            self.on_threads(value)
            told = f"threads: {value} files at a time"
        else:
            if self.context.budget is None:
                raise ValueError("max_cost: this run began without one; stop it and give it one")
            self.context.budget.allow(value)
            told = f"max_cost: ${value:f}"
        logger.warning("%s from now on, as ctl asked", told, extra={"action": "changed"})
        return f"{told} from now on"

    def is_grace_over(self) -> bool:
        """Whether the run is told to stop, and what is under way has had its time."""
        if not self.stop.is_closed():
            return False
        now_s = self.clock.now_s()
        if self._stopping_since_s is None:
            self._stopping_since_s = now_s
            in_flight = self.keys.counts().in_flight
            if in_flight:
                logger.warning(
                    "stopping: waiting up to %s for %s",
                    duration(self._grace_s),
                    counted(in_flight, "answer that is paid for", "answers that are paid for"),
                )
        return now_s - self._stopping_since_s >= self._grace_s

    def standing(
        self, finished: int, due: int, failed: int, besides: Callable[[], str], pace: str = ""
    ) -> ProgressFigures:
        """Return how the run stands, in words.

        Args:
            finished: in this run, `failed` ones included.
            due: in this run.
            besides: says why nothing moves when neither keys nor money do; "" when it does.
            pace: what else is to be said of it.
        """
        calls, funds = self.context.tally.figures(), self.funds
        waiting = self._why_waiting(funds) or besides()
        keys = [f"keys: {self.keys.counts().states}", self._rates.words(calls), pace]
        return ProgressFigures(
            failed=f"{failed:,} failed" if failed else "",
            waiting=f"waiting: {waiting}" if waiting else "",
            keys="; ".join(filter(None, keys)),
            cost=_cost_words(calls.cost, finished, due, funds),
        )

    def tell_progress(
        self, unit: str, finished: int, total: int, failed: int, besides: Callable[[], str]
    ) -> None:
        """Tell other processes how the run stands, if the last time is a second ago.

        Args:
            unit: what is counted.
            finished: of them, `failed` ones included.
            total: all that are known of.
            besides: as for `words`.
        """
        now_s, wall_s = self.clock.now_s(), self.clock.wall_s()
        if now_s < self._told_until_s:
            return
        self._told_until_s = now_s + _TELL_EVERY_S
        if self._began_with is None:
            self._began_with = finished
        funds, wait = self.funds, self.keys.waiting_on()
        until_s = None if wait is None or wait.until_s is None else wait.until_s - now_s + wall_s
        keys = [asdict(status) for status in self.keys.status()]
        for key in keys:
            cools_s = key.pop("cooling_until_s")
            key["cooling_until_wall_s"] = None if cools_s is None else cools_s - now_s + wall_s
        told = {
            "wall_s": wall_s,
            "since_wall_s": wall_s - self.seconds,
            "unit": unit,
            "finished": finished,
            "began_with": self._began_with,
            "total": total,
            "failed": failed,
            "waiting": self._why_waiting(funds, with_time=False) or besides(),
            "waiting_until_wall_s": until_s,
            "is_stopping": self.stop.is_closed(),
            "calls": self.context.tally.figures().as_dict(),
            "funds": funds and asdict(funds),
            "keys": keys,
        }
        write_progress(self.state_folder, told)

    def tell_soon(self) -> None:
        """Have what `tell_progress` is given next told at once: it is the end."""
        self._told_until_s = 0.0

    def _why_waiting(self, funds: Funds | None, *, with_time: bool = True) -> str:
        wait = self.keys.waiting_on()
        if wait is not None and wait.until_s is not None and with_time:
            return f"{duration(wait.until_s - self.clock.now_s())} to go, {wait.reason}"
        if wait is not None:
            return wait.reason
        is_short = funds is not None and funds.waiting
        return "max_cost: answers in flight may give money back" if is_short else ""

    @property
    def funds(self) -> Funds | None:
        """How max_cost stands over all runs; None: there is no cap."""
        budget = self.context.budget
        return None if budget is None else budget.funds()

    # The end

    @property
    def seconds(self) -> float:
        """How long it is since the run began."""
        return self.clock.now_s() - self._since_s

    @property
    def stopped(self) -> str:
        """Why the run ends before its work does; "" when it does not."""
        if self.signals.received is not None:
            return f"told to by {signal.Signals(self.signals.received).name}"
        return "" if self.stop.reason is None else words_of(self.stop.reason)

    def end(self, summary: Summary) -> None:
        """Close the run's record in the journal, and forget drops of keys that were alive."""
        try:
            fingerprints = self.keys.fingerprints(self.journal.salt)
            remembered = self.journal.dropped_keys()
            for status in self.keys.status():
                fingerprint = fingerprints.get(status.name, "")
                if fingerprint in remembered and status.state == "alive" and status.requests:
                    self.journal.key_restored(fingerprint)
            how = "stopped" if summary.stopped else "finished"
            for line in summary.lines():
                logger.info("%s: %s", how, line)
            self.journal.end_run(how, summary.as_dict())
        except ToolkitError as exc:  # raised by `hand_over`, with the summary
            self.stop.close(exc)

    def hand_over(self, summary: SummaryT) -> SummaryT:
        """Return the summary, or print it and raise what stopped the run.

        Raises:
            RunStopped: a signal came.
            ToolkitError: what stopped the run; its `summary` tells how far it came.
        """
        reason = self.stop.reason
        if isinstance(reason, OSError | MemoryError):
            reason = as_toolkit_error(reason, self.state_folder)
        if self.signals.received is not None:
            self.say(str(summary))
            raise RunStopped(128 + self.signals.received, summary)
        if isinstance(reason, ToolkitError):
            self.say(summary.beside_error())
            reason.summary = summary
        if reason is not None:
            raise reason
        return summary

    def say(self, words: str) -> None:
        """Print what a person is to read, unless the run prints nothing."""
        if self._prints:
            say(words)


def _circumstances() -> dict[str, str]:
    """Return what a run runs in: the command, and versions."""
    package = sys.modules[__package__.partition(".")[0]]
    told = {"openai_parallel_toolkit": package.__version__, "python": platform.python_version()}
    versions = {f"version.{name}": version for name, version in told.items()}
    return {"command": started_as(), **versions}


def _cost_words(cost: Cost, finished: int, due: int, funds: Funds | None) -> str:
    """Return what a run costs: now, what it will at this rate, and what all runs may."""
    told = cost.words() if funds is None else cost.now
    parts = [told if told.startswith("cost") else f"cost: {told}"]
    if cost.known_usd and 0 < finished < due:
        parts.append(f"projected {dollars(cost.known_usd * due / finished)}")
    if funds is not None:
        spent = dollars(funds.spent_usd)
        parts.append(f"cap ${funds.cap_usd:f} ({spent} spent at most)")
    return ", ".join(parts)


def say(words: str) -> None:
    """Print what a person is to read."""
    if sys.stdout is not None:
        try:
            print(visible(words, keep="\n"), flush=True)  # noqa: T201 - the summary is for people
        except OSError:  # nobody reads any more; the work is done all the same
            logger.debug("the summary could not be printed")


@contextmanager
def told_early(summary_of: Callable[..., Summary], *, prints: bool) -> Iterator[None]:
    """Have a stop signal end the block as long as no work is under way, and not without a word.

    Args:
        summary_of: makes the summary of a run that did nothing, from its `stopped`.
    """
    try:
        with StopSignals(raises=True):
            yield
    except RunStopped as stopped:
        if stopped.summary is None:
            name = signal.Signals(int(str(stopped.code)) - 128).name
            stopped.summary = summary_of(stopped=_NOTHING_BEGUN.format(name=name))
            if prints:
                say(str(stopped.summary))
        raise
    except (OSError, MemoryError) as exc:
        if not (isinstance(exc, MemoryError) or is_out_of_room(exc)):
            raise
        raise as_toolkit_error(exc, str(getattr(exc, "filename", None) or os.getcwd())) from exc
