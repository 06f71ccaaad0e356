"""Say what the work on a file of prompts came to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...runs.summary import CallsSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptsSummary(CallsSummary):
    """What a run did. Lines are counted once each, blank ones not at all; money is USD."""

    #: Lines that have an answer, replayed ones included.
    answered: int
    #: Lines that got none; the next run asks them again.
    failed: int
    #: Lines that were not come to an end with.
    left: int
    #: The output; "" while it is not whole.
    output_path: str = ""
    #: JSON lines, one per failed line; "" when there was none.
    errors_path: str = ""
    #: Whether all was done before, so that nothing had to be looked at.
    was_done: bool = False

    def lines(self) -> Iterator[str]:
        """Yield it in words, line by line."""
        if self.was_done:
            yield f"{self.output_path} is done already; --force writes it anew."
            return
        yield "Lines: " + self.time_words(
            (self.answered, "answered"), (self.failed, "failed"), (self.left, "left")
        )
        yield self.calls_words()
        yield from self.funds_words("output")
        yield from self.failure_words(self.errors_path, "ask again")
        if self.output_path:
            yield f"Output: {self.output_path}"
