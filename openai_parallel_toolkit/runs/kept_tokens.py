"""What kept answers took, in tokens: the best that is known of those to come."""

from __future__ import annotations

from collections.abc import Sequence

from ..calls.responses import OUT_OF_ROOM
from ..core.records import OutcomeKind, Request, Usage
from ..journal import FileDetail, JournalReader
from ..journal.rows import Attempt


class KeptTokens:
    """Reads a journal for what its answers took; models are told apart where they can be."""

    def __init__(self, reader: JournalReader) -> None:
        self._reader = reader
        self._by_model = {name: one for name, one in reader.by_model().items() if one.tokens}
        self._over: dict[int, float] = {}

    def reply_tokens(self, model: str) -> int | None:
        """Return how long a reply is on the average; None: there was none.

        Of another model's replies where this one has given none.
        """
        known = self._by_model
        seen = [known[model]] if model in known else list(known.values())
        answered = sum(one.answered for one in seen)
        return round(sum(one.completion_tokens for one in seen) / answered) if answered else None

    def usages(self, path: str) -> list[Usage]:
        """Return what each call of a file took, as its newest models answered."""
        if self._reader.known(path) is None:
            return []
        return [
            Usage(
                prompt_tokens=one.ending.prompt_tokens or 0,
                completion_tokens=one.ending.completion_tokens or 0,
                cached_tokens=one.ending.cached_tokens or 0,
            )
            for one in newest_attempts(self._reader.file(path))
            if one.ending is not None and one.ending.kind is OutcomeKind.OK
        ]

    def share_cut(self, requests: Sequence[Request]) -> float:
        """Return the share of the answers to requests that their limits would cut; 0: unknown."""
        limits = [one.reply_limit_tokens for one in requests]
        shares = [self._share_over(limit) if limit else 0.0 for limit in limits]
        return sum(shares) / len(shares) if shares else 0.0

    def _share_over(self, limit: int) -> float:
        if limit not in self._over:
            self._over[limit] = self._reader.share_of_answers_over(limit)
        return self._over[limit]


def newest_attempts(detail: FileDetail) -> list[Attempt]:
    """Return the attempts of a file that its newest models made.

    Those of a model that the hooks name no more tell nothing of what is to come.
    """
    newest = max((one.run_id for one in detail.attempts), default=0)
    models = {one.model for one in detail.attempts if one.run_id == newest}
    return [one for one in detail.attempts if one.model in models]


def count_cut(attempts: Sequence[Attempt]) -> tuple[int, int]:
    """Return how many answers came, and how many of them were cut by their limit."""
    ends = [one.ending for one in attempts if one.ending is not None and one.ending.kind.is_answer]
    return len(ends), sum(end.code.lower() in OUT_OF_ROOM for end in ends)
