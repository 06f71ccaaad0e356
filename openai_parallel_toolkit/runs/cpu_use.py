"""Find out whether the hooks of a run were short of CPU: Python's threads share one core."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

#: Of one core, so much used by hooks is all that they can have: the rest goes to sending.
_BUSY = 0.8
#: Of the run's time, and seconds of a run that is worth a word.
_MOST_OF_IT = 0.5
_WORTH_IT_S = 5.0


class CpuUse:
    """Looks a few times a second at what hooks use."""

    def __init__(
        self,
        now_s: Callable[[], float],
        sending_s: Callable[[], float],
        *,
        used_s: Callable[[], float] = time.process_time,
        cores: int | None = None,
    ) -> None:
        """Begin.

        Args:
            sending_s: CPU time of what sends.
            used_s: CPU time of the whole process.
            cores: that the machine has; None: those that Python sees.
        """
        self._now_s, self._sending_s, self._used_s = now_s, sending_s, used_s
        self._cores = cores or os.cpu_count() or 1
        self._watched_s = self._busy_s = 0.0
        self._looked = self._times()

    def _times(self) -> tuple[float, float]:
        return self._now_s(), self._used_s() - self._sending_s()

    def look(self) -> None:
        """Take in what was used since the last look."""
        (then_s, used_then_s), now = self._looked, self._times()
        self._looked = now
        passed_s = now[0] - then_s
        self._watched_s += passed_s
        if now[1] - used_then_s > _BUSY * passed_s:
            self._busy_s += passed_s

    @property
    def is_short(self) -> bool:
        """Whether hooks would have used more cores for most of the run, had they got them."""
        is_long = self._watched_s >= _WORTH_IT_S and self._cores > 1
        return is_long and self._busy_s > _MOST_OF_IT * self._watched_s
