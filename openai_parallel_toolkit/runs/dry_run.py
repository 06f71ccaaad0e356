"""Run hooks without sending anything, to tell what a run would ask for."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ..calls.file_calls import Answers, FileCalls, current_file_calls
from ..calls.run_context import RunContext
from ..calls.sender import Sender
from ..core.errors import NotAnsweredYet
from ..core.records import CallId, Request
from ..core.text import counted
from ..costs.prices import PriceBook
from ..costs.tally import CallFigures
from ..files.plan import Plan
from ..journal import Figures
from .folder_session import FolderSession
from .hooks import Hooks
from .options import RunOptions
from .report import RunSummary

logger = logging.getLogger(__name__)

#: Finished files that are looked at when the hooks were edited.
_SAMPLE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCalls:
    """What one file's hooks would have sent at their next step."""

    requests: tuple[Request, ...]
    #: What the hooks raised besides; None: nothing.
    error: BaseException | None = None


def dry_run(
    hooks: Hooks,
    session: FolderSession,
    plan: Plan,
    sender: Sender,
    found: dict[str, PlannedCalls] | None = None,
) -> RunSummary:
    """Run process_input and process_data of every due file; nothing is sent or written.

    Args:
        found: where to put what each file wants; None: nowhere.
    """
    failed = 0
    prices = PriceBook(sender.keys.settings.prices, sender.keys.settings.api_base)
    calls = tokens = 0
    cost_usd: Decimal | None = Decimal(0)
    for path, _ in plan.due():
        wanted = planned_calls(path, hooks, session, sender)
        if found is not None:
            found[path] = wanted
        calls += len(wanted.requests)
        tokens += sum(r.prompt_tokens for r in wanted.requests)
        cost_usd = _add(cost_usd, [prices.max_cost_usd(r) for r in wanted.requests])
        if wanted.error is not None:
            failed += 1
            logger.warning(
                "%s would fail: %s", path, sender.keys.redactor.clean(repr(wanted.error))
            )
    return RunSummary(
        done=0,
        skipped=plan.skipped_done + plan.skipped_existing,
        failed=failed,
        aside=plan.aside,
        left=plan.due_count + plan.later - failed,
        calls=CallFigures(),
        keys=(),
        seconds=0.0,
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
    changed = [w for w in (planned_calls(p, hooks, session, sender) for p in sample) if w.requests]
    if changed:
        total = len(sample) + sum(1 for _ in others)
        seen = session.journal.by_model()
        logger.warning("%s", _changed_words(changed, len(sample), total, sender, seen))


def _changed_words(
    changed: Sequence[PlannedCalls],
    looked_at: int,
    total: int,
    sender: Sender,
    seen: Mapping[str, Figures],
) -> str:
    requests = [request for wanted in changed for request in wanted.requests]
    files = round(total * len(changed) / looked_at)
    calls = max(files, round(total * len(requests) / looked_at))
    prices = PriceBook(sender.keys.settings.prices, sender.keys.settings.api_base)
    replies = {model: f.completion_tokens // f.answered for model, f in seen.items() if f.answered}
    costs = [prices.likely_cost_usd(r, replies.get(r.model)) for r in requests]
    usd = _add(Decimal(0), costs)
    price = "cost unknown (no price is set)"
    if usd is not None:
        price = f"about ${usd * total / looked_at:.4f} if their replies are as long as before"
    return (
        f"the hooks were edited: about {files:,} of {counted(total, 'finished file')} would now "
        f"ask something else (about {counted(calls, 'call')} or more, {price}). They stay as "
        "they are; force=True (--force) works on them again and pays for what changed."
    )


def _add(total: Decimal | None, costs: Sequence[Decimal | None]) -> Decimal | None:
    """Add costs up; None: one of them is not known."""
    for cost in costs:
        total = None if total is None or cost is None else total + cost
    return total


def planned_calls(
    path: str,
    hooks: Hooks,
    session: FolderSession,
    sender: Sender,
    *,
    answers: Answers | None = None,
) -> PlannedCalls:
    """Run the first two hooks of a file and return what they would have sent.

    Args:
        answers: what they find answered; None: what the journal holds now.
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
        context=RunContext(prices=PriceBook({})),
        path=path,
        answers=answers,
        absent=note,
    )
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
    return PlannedCalls(requests=tuple(requests), error=error)
