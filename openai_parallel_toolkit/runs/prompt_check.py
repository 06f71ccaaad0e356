"""Try the hooks on a few finished files before a run: would they ask something else now?

Wherever a prompt comes from (the hook, a constant, a file, another module, a notebook), what counts
is what the hooks ask. They find the kept answers; what they would ask besides is noted, not sent.
"""

from __future__ import annotations

import itertools
import random
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ..calls.sender import Sender
from ..core.errors import OutOfResources, ToolkitError
from ..core.logs import logger_of
from ..core.records import Request
from ..core.text import counted, dollars
from ..core.threads import start_thread
from ..costs.figures import COST_UNKNOWN, usd_sum
from ..costs.prices import PriceBook
from ..journal import FileRecord
from ..journal.rows import KeptRequest
from .dry_run import PlannedCalls, nothing_sent, planned_calls
from .folder_session import FolderSession
from .hooks import Hooks
from .options import RunOptions

logger = logger_of(__name__)

#: Hash of a request, and which of the equal ones of its file it is.
Identity = tuple[str, int]
Kept = Mapping[Identity, KeptRequest]
Fresh = Mapping[Identity, Request]

#: Finished files that are tried, and those that hooks with another text had finished.
_FILES, _FILES_OF_OTHER_HOOKS = 3, 20
#: Places in the journal that are looked at to find them.
_LOOKS = 12
#: The run begins when that is over, or `hook_timeout_s`, whatever the hooks do.
_PATIENCE_S = 5.0
#: What may be a time of day, or a Unix time; and how long it takes to be another one.
_TIME = re.compile(rb"\d:\d\d:\d\d|(?<!\d)[12]\d{9}(?!\d)")
_A_SECOND_S = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    """What came of one finished file."""

    #: Whether its hooks would ask something else now.
    is_changed: bool
    #: Whether they would ask something else each time.
    is_random: bool = False
    #: Calls that would be made anew, and what they cost if their answers are as long as before.
    calls: int = 0
    cost_usd: Decimal | None = Decimal(0)


def count_changed_prompts(
    options: RunOptions, hooks: Hooks, session: FolderSession, sender: Sender
) -> int:
    """Tell about how many finished files would ask something else now, and return it.

    Nothing is sent or written, and it takes 5 seconds at most.
    """
    if options.force or not options.check_prompts:
        return 0
    journal = session.journal
    others = list(
        itertools.islice(journal.made_by_other_hooks(hooks.version), _FILES_OF_OTHER_HOOKS)
    )
    other_count = journal.count_made_by_other_hooks(hooks.version) if others else 0
    own = list(_some_finished(session, hooks.version))
    trial = _Trial(hooks, session, sender, [*others, *own])
    timeout_s = options.hook_timeout_s
    trial.run(_PATIENCE_S if timeout_s is None else min(_PATIENCE_S, timeout_s))
    groups = [
        _Group(tried=trial.of(others), files=other_count),
        _Group(tried=trial.of(own), files=journal.count_done() - other_count),
    ]
    if any(one.is_random for group in groups for one in group.tried):
        logger.warning("%s", _RANDOM, extra={"action": "prompts_differ"})
        return 0
    changed = sum(group.changed for group in groups)
    if changed:
        words = _changed_words(groups, changed, journal.count_done(), is_edited=bool(others))
        logger.warning("%s", words, extra={"action": "prompts_changed"})
    return changed


def _some_finished(session: FolderSession, version: str) -> Iterator[FileRecord]:
    """Yield a few of the files that these hooks finished, others in each run."""
    last = session.journal.last_run()
    chance = random.Random(0 if last is None else last.id)
    seen: set[int] = set()
    for _ in range(_LOOKS):
        record = session.journal.asked_about(chance.random())
        if record is None or record.id in seen or record.hooks_version not in (version, ""):
            continue
        seen.add(record.id)
        yield record
        if len(seen) == _FILES:
            return


class _Trial:
    """Tries the hooks on finished files, on a thread that nobody has to wait for."""

    def __init__(
        self, hooks: Hooks, session: FolderSession, sender: Sender, records: Sequence[FileRecord]
    ) -> None:
        self._hooks, self._session, self._sender = hooks, session, sender
        self._records = records
        self._tried: dict[int, _Tried] = {}
        self._is_over = threading.Event()
        self._has_waited = False
        self._error: ToolkitError | None = None

    def run(self, patience_s: float) -> None:
        """Try one after the other until all are tried or the time is over."""
        if not self._records:
            return
        with nothing_sent(self._session, self._sender) as self._run:
            try:
                thread = start_thread(self._work, name="prompt-check")
            except OutOfResources:  # the run itself makes do with fewer
                return
            thread.join(patience_s)
        self._is_over.set()
        if thread.is_alive():
            logger.info("the hooks are too slow to look for changed prompts in all of the sample")
        if self._error is not None:
            raise self._error

    def of(self, records: Sequence[FileRecord]) -> list[_Tried]:
        """Return what came of these files, as far as it is known."""
        tried = dict(self._tried)
        return [tried[record.id] for record in records if record.id in tried]

    def _work(self) -> None:
        try:
            for record in self._records:
                if self._is_over.is_set():
                    return
                self._try(record)
        except ToolkitError as exc:  # the journal cannot be read
            self._error = exc
        except BaseException as exc:  # noqa: BLE001 - of a hook, whose own run will tell
            logger.debug("the sample was given up: %s", type(exc).__name__)

    def _try(self, record: FileRecord) -> None:
        """Note what the hooks would ask of a file, if that says something of the prompts."""
        signature, path = record.input_signature, record.path
        inputs = self._session.inputs
        if signature is not None and inputs.signature_of_same(path, signature) is None:
            return
        known = self._session.journal.requests_of(record.id)
        planned = self._planned(path)
        fresh = _fresh(planned, known)
        if not fresh and not _is_made_by_others(planned, known):
            if planned.error is None:
                self._tried[record.id] = _Tried(is_changed=False)
            return
        self._tried[record.id] = _tried(fresh, planned, known, self._session.prices)
        if fresh and self._differs_again(path, fresh, known):
            self._tried[record.id] = _Tried(is_changed=True, is_random=True)

    def _differs_again(self, path: str, fresh: Fresh, known: Kept) -> bool:
        """Whether the hooks ask something else when they are tried once more."""
        if not _is_alike(_fresh(self._planned(path), known), fresh):
            return True
        if self._has_waited or not any(_TIME.search(one.body) for one in fresh.values()):
            return False
        self._has_waited = True
        is_cut = self._is_over.wait(_A_SECOND_S)
        return not is_cut and not _is_alike(_fresh(self._planned(path), known), fresh)

    def _planned(self, path: str) -> PlannedCalls:
        return planned_calls(path, self._hooks, self._session, self._sender, run=self._run)


def _fresh(planned: PlannedCalls, known: Kept) -> Fresh:
    """Return the requests that were never made before."""
    return {identity: request for identity, request in planned.kept if identity not in known}


def _is_alike(one: Fresh, other: Fresh) -> bool:
    """Whether the same was asked, as far as it came: threads of a hook's own may be cut short."""
    asked, also = one.keys(), other.keys()
    return bool(asked & also) and (asked <= also or also <= asked)


def _is_made_by_others(planned: PlannedCalls, known: Kept) -> bool:
    """Whether all is known, but what was asked last is not asked any more: a prompt of before."""
    runs = [kept.run_id for (hash, k), kept in known.items() if k < planned.asked.get(hash, 0)]
    (hash, k), last = list(known.items())[-1]
    return k >= planned.asked.get(hash, 0) and bool(runs) and max(runs) < last.run_id


def _tried(fresh: Fresh, planned: PlannedCalls, known: Kept, prices: PriceBook) -> _Tried:
    """Return what it takes to ask anew: as many calls and tokens as were kept of the last run."""
    if not fresh:
        return _Tried(is_changed=True)
    last_run = max((kept.run_id for kept in known.values()), default=0)
    replaced = [
        kept
        for (hash, k), kept in known.items()
        if kept.run_id == last_run and k >= planned.asked.get(hash, 0)
    ]
    models = [request.model for request in fresh.values()]
    costs = [
        prices.cost_usd(kept.model if kept.model in models else models[0], kept.usage)
        for kept in replaced
    ]
    replies = [kept.completion_tokens for kept in known.values() if kept.completion_tokens]
    mean = round(sum(replies) / len(replies)) if replies else None
    more = list(fresh.values())[len(replaced) :]
    costs += [prices.likely_cost_usd(request, mean) for request in more]
    return _Tried(is_changed=True, calls=len(costs), cost_usd=usd_sum(costs))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Finished files of which some were tried."""

    tried: Sequence[_Tried]
    #: How many they are.
    files: int

    def scaled(self, amount: Decimal | int) -> Decimal:
        """Return for all of them what was found for those that were tried."""
        return amount * Decimal(self.files) / len(self.tried) if self.tried else Decimal(0)

    @property
    def changed(self) -> int:
        """About how many would ask something else now."""
        found = sum(one.is_changed for one in self.tried)
        return max(found, round(self.scaled(found)))


def _changed_words(groups: Sequence[_Group], changed: int, total: int, *, is_edited: bool) -> str:
    tried = [one for group in groups for one in group.tried]
    calls = round(sum(group.scaled(sum(one.calls for one in group.tried)) for group in groups))
    costs = [usd_sum(one.cost_usd for one in group.tried) for group in groups]
    usd = usd_sum(
        None if cost is None else group.scaled(cost)
        for group, cost in zip(groups, costs, strict=True)
    )
    price = COST_UNKNOWN
    if usd is not None:
        price = f"about {dollars(usd)} if their replies are as long as before"
    anew = f"about {counted(calls, 'call')} or more, {price}" if calls else "answers are kept"
    why = "the hooks were edited" if is_edited else "prompts were changed"
    return (
        f"{why}: about {changed:,} of {counted(total, 'finished file')} would now ask something "
        f"else ({counted(len(tried), 'file')} tried; {anew}). They stay as they are; force=True "
        "(--force) works on all files again and pays for what changed. check_prompts=False "
        "(--no-check-prompts) tries none."
    )


_RANDOM = (
    "prompts differ each time the hooks run (by time or by chance?): whether they were changed "
    "since files were finished cannot be told, and a file that is run again is paid for again. "
    "check_prompts=False (--no-check-prompts) does not look."
)
