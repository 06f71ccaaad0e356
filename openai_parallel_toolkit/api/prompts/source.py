"""The input file: read a line at a time, as often as is needed."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator

from ...core.errors import UsageError
from .lines import Defaults, PromptLine, read_line


class PromptsFile:
    """A file of prompts, one a line.

    Raises:
        UsageError: it cannot be read.
    """

    def __init__(self, path: str, defaults: Defaults) -> None:
        self.path = path
        self._defaults = defaults
        try:
            seen = os.stat(path)
            with open(path, "rb"):
                pass
        except OSError as exc:
            raise UsageError(f"{path!r}: {exc.strerror}; name a file of prompts") from exc
        if not stat.S_ISREG(seen.st_mode):
            raise UsageError(f"{path!r} is no ordinary file; write the prompts to one first")

    def count(self) -> int:
        """Return how many lines are not blank."""
        with open(self.path, "rb") as file:
            return sum(1 for raw in file if raw.strip())

    def lines(self) -> Generator[PromptLine, None, None]:
        """Yield the lines that are not blank; close the iterator when it is not used up."""
        with open(self.path, "rb") as file:
            for number, raw in enumerate(file, 1):
                line = read_line(number, raw, self._defaults)
                if line is not None:
                    yield line

    def signature(self) -> str:
        """Return what tells whether the file was changed."""
        seen = os.stat(self.path)
        return f"{seen.st_size}:{seen.st_mtime_ns}"
