"""Run hooks without sending anything, to tell what a run would ask for."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ..calls.file_calls import Answers, FileCalls, current_file_calls
from ..calls.open_runs import OpenRun
from ..calls.run_context import RunContext
from ..calls.sender import Sender
from ..core.describe import describe
from ..core.errors import NotAnsweredYet
from ..core.logs import logger_of
from ..core.records import CallId, Request
from ..core.redaction import safe_words
from ..core.text import counted
from ..costs.figures import COST_UNKNOWN, usd_sum
from ..files.plan import Plan
from .folder_session import FolderSession
from .hooks import Hooks
from .options import RunOptions
from .summary import RunSummary

logger = logger_of(__name__)

#: Finished files that are looked at when the hooks were edited.
_SAMPLE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCalls:
    """What one file's hooks would have sent at their next step."""

    requests: tuple[Request, ...]
    #: Calls before them that are answered already.
    replayed: int = 0
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
    with _nothing_sent(session, sender) as run:
        for path, _ in plan.due():
            would = planned_calls(path, hooks, session, sender, run=run)
            if planned is not None:
                planned[path] = would
            calls += len(would.requests)
            tokens += sum(request.prompt_tokens for request in would.requests)
            cost_usd = usd_sum([cost_usd, *map(session.prices.max_cost_usd, would.requests)])
            if would.error is not None:
                failed += 1
                error = safe_words(describe(would.error), sender.keys.redactor.clean, 2_000)
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


def warn_of_changed_prompts(
    options: RunOptions, hooks: Hooks, session: FolderSession, sender: Sender
) -> None:
    """Say so when finished files were made by other hooks that would now ask something else.

    A sample of them is run without sending; nothing is bought.
    """
    if options.force:
        return
    others = session.journal.made_by_other_hooks(hooks.version)
    sample = [record.path for record in itertools.islice(others, _SAMPLE)]
    with _nothing_sent(session, sender) as run:
        planned = [planned_calls(path, hooks, session, sender, run=run) for path in sample]
    changed = [would for would in planned if would.requests]
    if changed:
        total = len(sample) + sum(1 for _ in others)
        logger.warning("%s", _changed_words(changed, len(sample), total, session))


@contextlib.contextmanager
def _nothing_sent(session: FolderSession, sender: Sender) -> Iterator[OpenRun]:
    """Have what threads of the hooks' own ask be theirs as well, and not be sent."""
    run = OpenRun(sender, RunContext(prices=session.prices))
    with OpenRun.opened(run):
        yield run


def _changed_words(
    changed: Sequence[PlannedCalls], looked_at: int, total: int, session: FolderSession
) -> str:
    requests = [request for would in changed for request in would.requests]
    files = round(total * len(changed) / looked_at)
    calls = max(files, round(total * len(requests) / looked_at))
    seen = session.journal.by_model()
    told = {model: f for model, f in seen.items() if f.tokens}
    replies = {model: f.completion_tokens // f.answered for model, f in told.items()}
    usd = usd_sum(session.prices.likely_cost_usd(r, replies.get(r.model)) for r in requests)
    price = COST_UNKNOWN
    if usd is not None:
        price = f"about ${usd * total / looked_at:.4f} if their replies are as long as before"
    return (
        f"the hooks were edited: about {files:,} of {counted(total, 'finished file')} would now "
        f"ask something else (about {counted(calls, 'call')} or more, {price}). They stay as "
        "they are; force=True (--force) works on them again and pays for what changed."
    )


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

    def note(call_id: CallId, request: Request) -> NotAnsweredYet:
        del call_id
        requests.append(request)
        return NotAnsweredYet()

    file_calls = FileCalls(
        sender=sender,
        context=RunContext(prices=session.prices),
        path=path,
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
    except KeyboardInterrupt:  # Ctrl-C
        raise
    except BaseException as exc:  # noqa: BLE001 - told to the user, who wrote the hook
        # What follows a call without an answer, and however that is wrapped, says nothing.
        error = None if file_calls.is_unwound else exc
    finally:
        current_file_calls.reset(token)
    replayed = file_calls.context.tally.figures().replayed
    return PlannedCalls(requests=tuple(requests), replayed=replayed, error=error)
