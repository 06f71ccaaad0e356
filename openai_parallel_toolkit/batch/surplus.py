"""Count what the results of a batch say beyond one word on each of its lines, and tell it once."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from ..core.logs import logger_of
from ..core.text import counted
from .service import ResultLine

logger = logger_of(__name__)


@dataclass(slots=True)
class Surplus:
    """Lines of results that come again, or that belong to no line of the batch."""

    repeats: int = 0
    #: Of the repeats, those that say something else than the first.
    differing: int = 0
    #: Names of those that belong to no line of the batch.
    strangers: set[str] = field(default_factory=set)
    #: Lines of the batch of which something was said.
    taken: set[int] = field(default_factory=set)
    #: What answers among these cost that are not taken, as far as it is known.
    cost_usd: Decimal = Decimal(0)
    #: What was said first of each line, as a hash, by its custom_id.
    _said: dict[str, int] = field(default_factory=dict)

    def is_new(self, custom_id: str) -> bool:
        """Return whether nothing was said of a line yet."""
        return custom_id not in self._said

    def note(self, result: ResultLine) -> bool:
        """Count a line; True: it differs from what was said of the same line before."""
        said = hash((result.status, result.body, result.code, result.message))
        first = self._said.get(result.custom_id)
        if first is None:
            self._said[result.custom_id] = said
            return False
        self.repeats += 1
        self.differing += first != said
        return first != said

    def tell(self, batch: str) -> None:
        """Warn, if there is anything to tell."""
        told = []
        if self.repeats:
            other = f", {self.differing:,} of them with other words" if self.differing else ""
            told.append(f"{counted(self.repeats, 'line')} that came before{other}")
        if self.strangers:
            told.append(f"{counted(len(self.strangers), 'line')} that nobody asked for")
        if not told:
            return
        paid = f"; what was not taken may be billed, ${self.cost_usd}" if self.cost_usd else ""
        logger.warning(
            "the results of %s hold %s; the first usable answer to each request was taken%s",
            batch,
            " and ".join(told),
            paid,
            extra={"action": "batch_surplus"},
        )
