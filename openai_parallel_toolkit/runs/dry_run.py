"""Run hooks without sending anything, to tell what a run would ask for."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from ..calls.file_calls import Answers, FileCalls, current_file_calls
from ..calls.open_runs import OpenRun
from ..calls.run_context import RunContext
from ..calls.sender import Sender
from ..core.errors import NotAnsweredYet
from ..core.records import CallId, Request
from ..core.redaction import safe_words
from ..costs.figures import usd_sum
from ..files.plan import Plan
from .folder_session import FolderSession
from .hooks import Hooks
from .summary import RunSummary

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCalls:
    """What one file's hooks would have sent at their next step."""

    requests: tuple[Request, ...]
    #: Those whose answers would be kept for the file, with hash and k.
    kept: tuple[tuple[tuple[str, int], Request], ...]
    #: How often each request was asked for, answered ones included, by its hash.
    asked: Mapping[str, int]
    #: What the hooks raised besides; None: nothing.
    error: BaseException | None = None


def dry_run(
    hooks: Hooks,
    session: FolderSession,
    plan: Plan,
    sender: Sender,
    planned: dict[str, PlannedCalls] | None = None,
) -> RunSummary:
    """Run process_input and process_data of every due file; nothing is sent or written.

    Args:
        planned: where to put what each file would ask; None: nowhere.
    """
    failed = calls = tokens = 0
    cost_usd: Decimal | None = Decimal(0)
    with nothing_sent(session, sender) as run:
        for path, _ in plan.due():
            would = planned_calls(path, hooks, session, sender, run=run)
            if planned is not None:
                planned[path] = would
            calls += len(would.requests)
            tokens += sum(request.prompt_tokens for request in would.requests)
            cost_usd = usd_sum([cost_usd, *map(session.prices.max_cost_usd, would.requests)])
            if would.error is not None:
                failed += 1
                error = safe_words(repr(would.error), sender.keys.redactor.clean, 2_000)
                logger.warning("%s would fail: %s", path, error)
    return RunSummary(
        skipped=plan.skipped_done + plan.skipped_existing,
        failed=failed,
        aside=plan.aside,
        left=plan.due_count + plan.later - failed,
        output_path=session.layout.output_name,
        would_send=calls,
        would_send_tokens=tokens,
        would_cost_usd=cost_usd,
    )


@contextlib.contextmanager
def nothing_sent(session: FolderSession, sender: Sender) -> Iterator[OpenRun]:
    """Have what threads of the hooks' own ask be theirs as well, and not be sent."""
    run = OpenRun(sender, RunContext(prices=session.prices))
    with OpenRun.opened(run):
        yield run


def planned_calls(
    path: str,
    hooks: Hooks,
    session: FolderSession,
    sender: Sender,
    *,
    answers: Answers | None = None,
    run: OpenRun | None = None,
) -> PlannedCalls:
    """Run the first two hooks of a file and return what they would have sent.

    Args:
        answers: what they find answered; None: what the journal holds now.
        run: in which no other hooks run, so that nothing at all is to be sent; None: in one that
            is on, what is no call is.
    """
    if answers is None:
        record = session.journal.known(path)
        answers = session.journal.answers(record.id) if record is not None else {}
    requests: list[Request] = []
    kept: list[tuple[tuple[str, int], Request]] = []

    def note(call_id: CallId, request: Request) -> NotAnsweredYet:
        requests.append(request)
        if current_file_calls.get() is file_calls:  # else a thread of the hooks' own asks
            kept.append(((call_id.hash, call_id.k), request))
        return NotAnsweredYet()

    file_calls = FileCalls(
        sender=sender,
        context=RunContext(prices=session.prices),
        path=path,
        layout=session.layout,
        answers=answers,
        absent=note,
        is_dry=run is not None,
    )
    if run is not None:
        run.only_file = file_calls
    token = current_file_calls.set(file_calls)
    error: BaseException | None = None
    try:
        with session.inputs.local_copy(path) as found, hooks.open_input(found.path) as file:
            hooks.finish(hooks.process_data(hooks.process_input(file)))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as exc:  # noqa: BLE001 - told to the user, who wrote the hook
        # What follows a call without an answer, and however that is wrapped, says nothing.
        error = None if file_calls.is_unwound else exc
    finally:
        current_file_calls.reset(token)
    return PlannedCalls(
        requests=tuple(requests), kept=tuple(kept), asked=file_calls.asked(), error=error
    )
