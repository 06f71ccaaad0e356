"""Say how a batch ended and what each line of its results is. Pure: by code, type and status."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from ..calls.classify import classify
from ..calls.provider_codes import Blame, fault_of, plain
from ..calls.refusals import Clean
from ..calls.responses import error_in, parse_object
from ..calls.usage import in_batch
from ..core.records import Outcome, OutcomeKind, RawReply, Reply, Usage
from ..core.redaction import safe_words
from ..costs.prices import PriceBook
from .service import BatchIssue, RemoteBatch, ResultLine

#: What is wrong with the key, and not with what was asked.
OF_THE_KEY = frozenset({OutcomeKind.KEY_DEAD, OutcomeKind.NOT_HERE})
#: That a line was sent so does not count: it was not asked, or of a key that could not have it.
UNCOUNTED = frozenset({OutcomeKind.UNSENT, *OF_THE_KEY})
#: The same may well work a little later.
PASSING = frozenset({OutcomeKind.BUSY, OutcomeKind.UNSENT, OutcomeKind.UNKNOWN})


#: What a code says of a batch's key; BUSY: it has no room.
_OF_THE_KEY = {
    Blame.KEY: OutcomeKind.KEY_DEAD,
    Blame.QUOTA: OutcomeKind.KEY_DEAD,
    Blame.ACCESS: OutcomeKind.KEY_DEAD,
    Blame.MODEL: OutcomeKind.NOT_HERE,
    Blame.NO_ROOM: OutcomeKind.BUSY,
}
#: Lines that a batch did not come to before it ended; they are not billed.
#: Source: https://platform.openai.com/docs/guides/batch, "Batch expiration" (2026-11).
_NOT_ASKED = frozenset(map(plain, ("batch_expired", "batch_cancelled")))
#: Characters of what a server says that are kept.
_LONGEST_CODE, _MOST_TOLD = 200, 1_000
_OWN_RESULT = "the batch is completed, and its results say nothing of this line"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEnd:
    """What follows when a batch is over."""

    #: How its lines ended of which the results say nothing.
    rest: Outcome
    #: What speaks against the batch's key; BUSY: too many tokens wait under it. None: nothing.
    blame: Outcome | None = None
    #: Refused lines, by their number in the file, from 1.
    refused: Mapping[int, Outcome] = field(default_factory=dict)
    #: Whether nothing of it is asked again by itself.
    is_last: bool = False


def blame_of(outcome: Outcome) -> Outcome | None:
    """Return what a refusal of a whole batch says against its key; None: nothing."""
    kind = _kind_of(outcome.code)
    if kind is not None and (kind is OutcomeKind.BUSY or outcome.kind not in OF_THE_KEY):
        outcome = replace(outcome, kind=kind, is_limit=kind is OutcomeKind.BUSY)
    is_blame = outcome.kind in OF_THE_KEY or kind is OutcomeKind.BUSY
    return outcome if is_blame else None


def refused_batch(outcome: Outcome) -> BatchEnd:
    """Return what follows when a batch was refused before it was made."""
    blame = blame_of(outcome)
    return BatchEnd(rest=outcome if blame is None else _unasked(blame), blame=blame)


def ended_batch(remote: RemoteBatch, answers: int, *, clean: Clean) -> BatchEnd:
    """Return what follows when a batch is over.

    Args:
        answers: how many its results hold.
    """
    outcomes = [(issue, _outcome_of(issue, clean)) for issue in remote.errors]
    blame = next(filter(None, (blame_of(outcome) for _, outcome in outcomes)), None)
    if blame is not None:
        return BatchEnd(rest=_unasked(blame), blame=blame)
    refused = {
        issue.line: replace(outcome, kind=OutcomeKind.REJECTED)
        for issue, outcome in outcomes
        if issue.line is not None
    }
    whole = next((outcome for issue, outcome in outcomes if issue.line is None), None)
    if whole is None and refused:
        told = f"the batch failed because of other lines ({next(iter(refused.values())).code})"
        whole = Outcome(kind=OutcomeKind.BUSY, code="batch_failed", message=told)
    if remote.status == "completed" or answers < remote.completed:
        whole = Outcome(kind=OutcomeKind.UNKNOWN, code="no_result", message=_OWN_RESULT)
    if whole is None:
        told = f"the batch is {remote.status}"
        whole = _told(OutcomeKind.BUSY, f"batch_{remote.status}", told, clean)
    return BatchEnd(rest=whole, refused=refused)


def _unasked(blame: Outcome) -> Outcome:
    return replace(blame, kind=OutcomeKind.UNSENT)


def _outcome_of(issue: BatchIssue, clean: Clean) -> Outcome:
    is_refused = fault_of(issue.code) is Blame.REQUEST
    kind = OutcomeKind.REJECTED if is_refused else OutcomeKind.BUSY
    return _told(kind, issue.code or "batch_failed", issue.message, clean)


def _told(kind: OutcomeKind, code: str, message: str, clean: Clean) -> Outcome:
    code = safe_words(code, clean, _LONGEST_CODE)
    return Outcome(kind=kind, code=code, message=safe_words(message, clean, _MOST_TOLD))


def is_no_room(code: str) -> bool:
    """Return whether a code says that too many tokens wait in batches."""
    return fault_of(code) is Blame.NO_ROOM


def _kind_of(code: str) -> OutcomeKind | None:
    """Return what a code says of the key; BUSY: it has no room; None: nothing."""
    fault = fault_of(code)
    return None if fault is None else _OF_THE_KEY.get(fault)


def judge_line(
    result: ResultLine, path: str, *, wall_s: float, clean: Clean
) -> tuple[Outcome, Reply | None]:
    """Return what a line of the results says, and the answer if there is a usable one.

    Args:
        path: the API path that was asked, without a version.
    """
    told = _told(OutcomeKind.UNKNOWN, result.code, result.message, clean)
    kind = _kind_of(result.code)
    if result.status is None:
        if plain(result.code) in _NOT_ASKED:
            kind = OutcomeKind.BUSY
        return replace(told, kind=kind or told.kind), None
    body = result.body
    is_success = 200 <= result.status < 300
    is_in_body = is_success and error_in(parse_object(body) or {}) is not None
    if (result.code or result.message) and not is_in_body:
        if is_success:  # an error beside an answer, which may be billed
            kind = kind if kind in OF_THE_KEY else OutcomeKind.UNKNOWN
            return replace(told, kind=kind or told.kind, status=result.status), None
        error = {"code": told.code, "message": told.message}
        body = body if b'"error"' in body else json.dumps({"error": error}).encode()
    if is_success and not parse_object(body):
        told = replace(told, code="no_answer", message="the line has a status and no answer")
        return replace(told, status=result.status), None
    headers = {"x-request-id": result.request_id}
    reply = RawReply(status=result.status, headers=headers, body=body)
    outcome, answer = classify(reply, path, wall_s=wall_s, clean=clean)
    if answer is None and kind in OF_THE_KEY and not is_success:
        outcome = replace(outcome, kind=kind or outcome.kind)
    return outcome, answer


def line_cost_usd(
    prices: PriceBook,
    model: str,
    body: bytes,
    usage: Usage | None,
    deployment: str | None = None,
) -> Decimal | None:
    """Return what an answer in a batch cost; None: the price or the usage is not known.

    It is the price of what its line named, a model or a deployment, else of what answered; before
    them that of the deployment which took the model's place in the line.
    """
    usage = in_batch(usage)
    cost_usd = prices.cost_usd(model, usage, deployment)
    if cost_usd is None and usage is not None:
        named = str((parse_object(body) or {}).get("model"))[:_LONGEST_CODE]
        cost_usd = prices.cost_usd(named, usage)
    return cost_usd
