"""Tell a toolkit of the user's own that its run is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..core.describe import describe
from ..core.errors import RunStopped, ToolkitError
from ..core.logs import logger_of
from ..core.redaction import Redactor, safe_words
from .summary import RunSummary

logger = logger_of(__name__)

_MOST_WORDS = 500


@dataclass(slots=True)
class RunEnd:
    """How a run ended."""

    summary: RunSummary = RunSummary()  # noqa: RUF009 - it is frozen


@contextmanager
def telling_the_end(finished: Callable[[RunSummary], object]) -> Iterator[RunEnd]:
    """Call `finished` once with the summary that the block sets, or that its error has."""
    end = RunEnd()
    try:
        yield end
    except (RunStopped, ToolkitError) as exc:
        if isinstance(exc.summary, RunSummary):
            _tell(finished, exc.summary)
        raise
    _tell(finished, end.summary)


def _tell(finished: Callable[[RunSummary], object], summary: RunSummary) -> None:
    try:
        finished(summary)
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - how the run ended counts
        logger.warning(
            "finished() raised %s; the run ended as its summary says",
            safe_words(describe(exc), Redactor().clean, _MOST_WORDS),
            extra={"action": "finished_raised"},
        )
