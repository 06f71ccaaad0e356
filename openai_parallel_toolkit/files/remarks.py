"""Count what a person should know of files that are done."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

#: Their outputs were there, made by no run that the journal knows.
FOUND_OUTPUTS = "found_outputs"
#: Their input was changed since.
CHANGED_INPUTS = "changed_inputs"
#: Their hooks wrote no output and no line.
WROTE_NOTHING = "wrote_nothing"
#: Outputs without anything but white space.
BLANK_OUTPUTS = "blank_outputs"
#: Files in the output folder that hooks wrote past the toolkit.
STRAY_OUTPUTS = "stray_outputs"
#: Outputs and lines that name the folder in which outputs wait until they are whole.
STAGING_NAMES = "staging_names"


class Remarks:
    """How often each remark was made, and the first file that it is about; one lock guards both."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def add(self, what: str, path: str, count: int = 1) -> None:
        """Remark on a file so many times, which may be 0."""
        if count:
            with self._lock:
                self._counts[what] += count
                self._examples.setdefault(what, path)

    def count(self, what: str) -> int:
        """Return how often a remark was made."""
        with self._lock:
            return self._counts[what]

    def told(self) -> tuple[Mapping[str, int], Mapping[str, str]]:
        """Return counts and first files, by remark."""
        with self._lock:
            return dict(self._counts), dict(self._examples)
