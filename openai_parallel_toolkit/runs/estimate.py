"""Tell what a whole job will take, from a few of its files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Any

from ..core.errors import FilesFailed
from ..core.html import html_table
from ..core.records import OutcomeKind, Request
from ..core.text import counted, dollars, duration
from ..costs.figures import usd_sum, usd_text
from ..costs.model_price import BATCH_SHARE
from ..costs.prices import PriceBook
from ..journal import FileDetail, JournalReader
from ..keys import APIKeyManager
from ..keys.config import APIKey
from ..transport import Transport
from .dry_run import PlannedCalls
from .hooks import Hooks
from .kept_tokens import KeptTokens, count_cut, newest_attempts
from .options import RunOptions
from .run import run_folder
from .sample import Range, Sample, forecast
from .thread_count import most_threads


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one file took."""

    calls: int
    prompt_tokens: int
    completion_tokens: int
    #: None: a price is not known.
    cost_usd: Decimal | None
    #: From its first request to its last answer; None: nothing was sent for it.
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What all files that are due will take, those of the sample included; money is USD."""

    files: int
    #: Files that it is drawn from.
    sampled: int
    #: Files of the sample whose hooks raised; they are left out.
    failed: int
    calls: Range
    prompt_tokens: Range
    completion_tokens: Range
    #: None: a price is not known.
    cost_usd: Range | None
    #: For what the sample left to do; None: not known.
    seconds: float | None
    #: What sets the time: the files under way at a time, or a limit of the keys.
    bound_by: str
    #: What the sample's files have cost; None: not known, or nothing was sent.
    sample_usd: Decimal | None
    #: Whether nothing was sent: then only first calls are counted, with replies as long as those
    #: that are kept, or as can be.
    tokens_only: bool
    #: Whether that is told from replies that are kept.
    is_known: bool = True
    #: Share of the answers that are cut by the limit of their request; 0: none, or not known.
    share_cut: float = 0.0

    @property
    def batch_usd(self) -> Decimal | None:
        """What it would cost through the Batch API; None: a price is not known."""
        return None if self.cost_usd is None else _usd(self.cost_usd.likely) * BATCH_SHARE

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values; money as text."""
        told = {one.name: getattr(self, one.name) for one in fields(self)}
        for name in ("calls", "prompt_tokens", "completion_tokens"):
            told[name] = told[name].as_dict(round)
        cost = self.cost_usd
        told["cost_usd"] = None if cost is None else cost.as_dict(lambda usd: str(_usd(usd)))
        told["batch_usd"] = usd_text(self.batch_usd)
        told["sample_usd"] = usd_text(self.sample_usd)
        return told

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        return html_table(self._lines())

    def _lines(self) -> Iterator[str]:
        if not self.files:
            yield "No file is due, so there is nothing to forecast."
            return
        spent = "" if self.sample_usd is None else f" for {dollars(self.sample_usd)}"
        done = "looked at, nothing was sent" if self.tokens_only else f"worked on{spent}"
        failed = f"; {self.failed:,} more failed" if self.failed else ""
        yield f"Sample: {self.sampled:,} of {counted(self.files, 'file')}, {done}{failed}."
        calls = "First calls" if self.tokens_only else "Calls"
        yield f"{calls}: {self.calls.words()}."
        long = "those kept" if self.is_known else "it may be"
        longest = f", if each is as long as {long}" if self.tokens_only else ""
        if self.calls.likely and not self.prompt_tokens.likely:
            yield "Tokens: unknown (the answers do not say)."
        else:
            yield (
                f"Tokens: {self.prompt_tokens.words()} sent, "
                f"{self.completion_tokens.words()} received{longest}."
            )
        if self.cost_usd is None or self.batch_usd is None:
            yield (
                "Cost: unknown (a model has no price, which the config can give, or its answers do "
                "not say what they used)."
            )
        else:
            yield (
                f"Cost: {self.cost_usd.words(dollars)}{longest}; in batch mode half: about "
                f"{dollars(self.batch_usd)}."
            )
        if self.seconds is not None:
            yield f"Time: about {duration(self.seconds)} more, set by {self.bound_by}."
        if self.share_cut:
            yield (
                f"Cut: about {self.share_cut:.0%} of the answers do not fit into the limit that "
                "their requests set (max_tokens, max_completion_tokens, max_output_tokens): they "
                "are paid for, and their files fail. Raise it; then only those are asked again."
            )
        if self.tokens_only:
            yield (
                "Answers may lead to more calls; without --tokens-only a sample is paid for and "
                "told."
            )


def estimate_folder(
    options: RunOptions,
    hooks: Hooks,
    keys: APIKeyManager,
    *,
    sample: float | None,
    tokens_only: bool,
    transport: Transport | None = None,
) -> Estimate:
    """Work on a sample of the due files and forecast the rest; see `ParallelToolkit.estimate`."""
    chosen = Sample(sample)
    options = replace(options, dry_run=tokens_only)
    summary = run_folder(options, hooks, keys, transport=transport, sample=chosen)
    found, is_known, share_cut = _look(chosen, keys.prices, tokens_only=tokens_only)
    if chosen.all_count and not found:
        cut = f" ({share_cut:.0%} of the answers were cut by their limit)" if share_cut else ""
        raise FilesFailed(
            f"no file of the sample was finished{cut}, so nothing can be forecast; mend what "
            f"{summary.failures_path or 'the warnings'} tells",
            summary=summary,
        )
    sizes, files = [chosen.sizes[path] for path in found], list(found.values())

    def over(value: Callable[[Measured], float]) -> Range:
        rest = {"rest_count": chosen.rest_count, "rest_size": chosen.rest_bytes}
        return forecast([value(one) for one in files], sizes, **rest)

    costs = usd_sum(one.cost_usd for one in files)
    calls = over(lambda one: one.calls)
    prompt_tokens = over(lambda one: one.prompt_tokens)
    completion_tokens = over(lambda one: one.completion_tokens)
    share = chosen.rest_count / max(1, chosen.all_count)
    amounts = {
        "rpm": calls.likely * share,
        "tpm": (prompt_tokens.likely + completion_tokens.likely) * share,
    }
    most = most_threads(options.num_threads)
    times = _times(files, chosen.rest_count, amounts, keys.settings.api_keys, most)
    bound_by = max(times, key=times.__getitem__, default="")
    return Estimate(
        files=chosen.all_count,
        sampled=len(files),
        failed=summary.failed,
        calls=calls,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cost_usd=None if costs is None else over(lambda one: float(one.cost_usd or 0)),
        seconds=times.get(bound_by),
        bound_by=bound_by,
        sample_usd=None if tokens_only else costs,
        tokens_only=tokens_only,
        is_known=is_known,
        share_cut=share_cut,
    )


def _look(
    chosen: Sample, prices: PriceBook, *, tokens_only: bool
) -> tuple[dict[str, Measured], bool, float]:
    """Return what each file of a sample takes, whether that is known, and the share to be cut."""
    with JournalReader(chosen.state_folder) as reader:
        if not tokens_only:
            details = {path: reader.file(path) for path in chosen.sizes}
            done = {path: _measured(one) for path, one in details.items() if one.failure is None}
            return done, True, _share_cut(details.values())
        kept = KeptTokens(reader)
        planned = {path: one for path, one in chosen.planned.items() if not one.error}
        found = {path: _expected(path, one, kept, prices) for path, one in planned.items()}
        asked = [request for one in planned.values() for request in one.requests]
        is_known = all(kept.reply_tokens(request.model) is not None for request in asked)
        return found, is_known, kept.share_cut(asked)


def _share_cut(details: Iterable[FileDetail]) -> float:
    counts = [count_cut(newest_attempts(detail)) for detail in details]
    answers = sum(answered for answered, _ in counts)
    return sum(cut for _, cut in counts) / answers if answers else 0.0


def _measured(detail: FileDetail) -> Measured:
    ends = [(attempt, attempt.ending) for attempt in newest_attempts(detail) if attempt.ending]
    good = [ending for _, ending in ends if ending.kind is OutcomeKind.OK]
    newest = max((attempt.run_id for attempt in detail.attempts), default=0)
    times = [(a.started_wall_s, e.ended_wall_s) for a, e in ends if a.run_id == newest]
    seconds = max(t for _, t in times) - min(t for t, _ in times) if times else None
    return Measured(
        calls=len(good),
        prompt_tokens=sum(ending.prompt_tokens or 0 for ending in good),
        completion_tokens=sum(ending.completion_tokens or 0 for ending in good),
        cost_usd=usd_sum(ending.cost_usd for ending in good),
        seconds=seconds,
    )


def _expected(path: str, planned: PlannedCalls, kept: KeptTokens, prices: PriceBook) -> Measured:
    """Forecast a file: calls that were answered before under other prompts take what they took."""
    requests = planned.requests
    before = kept.usages(path)[planned.replayed :] if requests else []
    others = requests[len(before) :]
    models = [request.model for request in requests[: len(before)]]
    models += models[-1:] * (len(before) - len(models))
    replies = [_reply_tokens(request, kept) for request in others]
    costs = [prices.cost_usd(model, one) for model, one in zip(models, before, strict=True)]
    costs += [
        prices.likely_cost_usd(request, reply)
        for request, reply in zip(others, replies, strict=True)
    ]
    return Measured(
        calls=len(costs),
        prompt_tokens=sum(one.prompt_tokens for one in before)
        + sum(one.prompt_tokens for one in others),
        completion_tokens=sum(one.completion_tokens for one in before) + sum(replies),
        cost_usd=usd_sum(costs),
    )


def _reply_tokens(request: Request, kept: KeptTokens) -> int:
    mean = kept.reply_tokens(request.model)
    return request.reply_tokens if mean is None else min(request.reply_tokens, mean)


def _times(
    files: Sequence[Measured],
    rest_count: int,
    amounts: Mapping[str, float],
    keys: Sequence[APIKey],
    num_threads: int,
) -> dict[str, float]:
    """Return the seconds that the rest takes, by what may set them."""
    times: dict[str, float] = {}
    seen = [one.seconds for one in files if one.seconds is not None]
    if seen:
        threads = min(num_threads, max(1, rest_count))
        under_way = f"{counted(threads, 'file')} under way at a time"
        times[under_way] = rest_count * sum(seen) / len(seen) / threads
    for name, amount in amounts.items():
        limits = [getattr(key, name) for key in keys]
        if limits and all(limits):
            times[f"the keys' {name}"] = 60 * amount / sum(limits)
    return times


def _usd(amount: float) -> Decimal:
    return Decimal(str(round(amount, 6)))
