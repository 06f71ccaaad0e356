"""Say what a limit means for the one request that met it: wait, ask elsewhere, or give up. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..core.clock import backoff_s
from ..core.records import Need, Outcome, OutcomeKind, RawReply, Standing
from ..transport.base import SendFault
from .rate_hints import is_of_all_models, told_limit

#: A request that is limited so often, for so long, while others pass, is refused.
MOST_LIMITS = 8
LONGEST_LIMITED_S = 60.0
#: Others pass: so many are answered for each that is limited.
_ANSWERS_FOR_A_LIMIT = 3
_LONGEST_BACKOFF_S = 30.0
_LONGEST_WAIT_S = 600.0
_TOO_LARGE = 413
#: With status 413: it is a limit of tokens that the request exceeds; others may have a higher one.
#: Sources: https://console.groq.com/docs/rate-limits,
#: https://docs.github.com/en/github-models (read 2026-11).
_LIMIT_CODES = frozenset({"rate_limit_exceeded", "tokens", "tokens_limit_reached"})


def with_told_limit(outcome: Outcome, ended: RawReply | SendFault) -> Outcome:
    """Return what a refusal means, with what its words and codes say of the limit."""
    if not isinstance(ended, RawReply) or not (outcome.is_limit or ended.status == _TOO_LARGE):
        return outcome
    limit, asked = told_limit(outcome.message) or (None, None)
    if ended.status == _TOO_LARGE:
        if outcome.code not in _LIMIT_CODES and limit is None:
            return outcome
        return replace(outcome, kind=OutcomeKind.BUSY, is_limit=True, is_too_large=True)
    return replace(
        outcome,
        is_too_large=None if limit is None or asked is None else asked > limit,
        token_limit=limit,
        is_group_limit=is_of_all_models(ended.headers, ended.body),
    )


@dataclass
class LimitHistory:
    """How often one request was limited, and how others fared meanwhile."""

    _times: int = 0
    _since_s: float = 0.0
    #: How others stood when it was limited first.
    _first: Standing | None = None
    #: How often it was itself counted among those that were limited.
    _counted: int = 0

    def next_need(
        self, need: Need, outcome: Outcome, standing: Standing, now_s: float, chance: float
    ) -> Need | None:
        """Return what to ask a key for after another limit; None: the request is refused."""
        self._times += 1
        if standing.too_large_for:
            words = outcome.message or outcome.code
            return replace(
                need, too_large_for={**need.too_large_for, standing.too_large_for: words}
            )
        if self._first is None:
            self._first, self._since_s = standing, now_s
            return need
        self._counted += not need.not_before_s
        answers = standing.answers - self._first.answers
        limits = standing.limits - self._first.limits - self._counted
        if answers < max(1, limits * _ANSWERS_FOR_A_LIMIT):
            return replace(need, not_before_s=0.0)
        if self._times >= MOST_LIMITS and now_s - self._since_s >= LONGEST_LIMITED_S:
            return None
        own_s = backoff_s(self._times - 1, chance, base_s=1.0, cap_s=_LONGEST_BACKOFF_S)
        wait_s = min(max(own_s, outcome.retry_after_s or 0.0), _LONGEST_WAIT_S)
        return replace(need, not_before_s=now_s + wait_s)
