"""Say which inputs are wanted and what their outputs are called."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..core.errors import ConfigError

_NAMINGS = ("stem", "whole")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where inputs come from, where outputs go, and how an input's outputs are called."""

    #: A folder, or a URL.
    input_root: str
    #: The output folder; when outputs go to a URL, the local folder that stands for it.
    output_root: str
    #: Where outputs go; None: to `output_root`.
    output_url: str | None = None
    #: Name of the single input in `input_root`; None: all that is in the folder.
    only: str | None = None
    #: What outputs of the single input are called without extension; None: after the input.
    output_stem: str | None = None
    #: "stem": a.txt gives a.*; "whole": a.txt gives a.txt.*
    output_names: str = "stem"

    def __post_init__(self) -> None:
        if self.output_names not in _NAMINGS:
            raise ConfigError(f'output_names is "stem" or "whole", not {self.output_names!r}.')

    @property
    def output_name(self) -> str:
        """Where outputs go, as users know it."""
        return self.output_url or self.output_root

    def output_at(self, final: str) -> str:
        """Return the whole name of an output, given below the output folder, as users know it."""
        return f"{self.output_name.rstrip('/')}/{final}"

    def stem(self, name: str) -> str:
        """Return what the outputs of the input called `name` are called without extension."""
        if self.output_stem is not None:
            return self.output_stem
        if self.output_names != "stem":
            return name
        stem = name.rpartition(".")[0]  # a fifth of what `splitext` takes
        return stem if stem.strip(".") else name

    def without_ext(self, path: str) -> str:
        """Return the output's path without extension for an input; both relative."""
        folder, name = os.path.split(path)
        return os.path.join(folder, self.stem(name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which inputs this run is to work on."""

    #: Globs, of which one must match; None: every file. Without "/" they match the name alone,
    #: else the path below the input folder, where "**" stands for any number of folders.
    pattern: Sequence[str] | None = None
    #: Globs of files and folders that are left out.
    exclude: Sequence[str] = ()
    recursive: bool = True
    #: Whether files that were put aside are due again.
    retry_failed: bool = False
    #: Whether every file is due, whatever exists.
    force: bool = False
    #: How many files to work on; None: all that are due.
    file_count: int | None = None
    #: Whether files whose input was changed since they were done are due: "redo"; or "skip".
    on_changed_input: str = "skip"

    @property
    def wants_all(self) -> bool:
        """Whether every file is an input."""
        return self.pattern is None and not self.exclude

    def wants(self, path: str) -> bool:
        """Whether the file at this relative path is an input."""
        if self.pattern is not None and not matches(path, self.pattern):
            return False
        return not self.leaves_out(path)

    def leaves_out(self, path: str) -> bool:
        """Whether the file or folder at this relative path is excluded."""
        return bool(self.exclude) and matches(path, self.exclude)


def matches(path: str, globs: Sequence[str]) -> bool:
    """Whether a relative path matches one of the globs."""
    parts = path.split("/")
    return any(_fits(parts if "/" in glob else parts[-1:], glob.split("/")) for glob in globs)


def _fits(parts: Sequence[str], globs: Sequence[str]) -> bool:
    if not globs:
        return not parts
    if globs[0] == "**":
        return any(_fits(parts[skip:], globs[1:]) for skip in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], globs[0]) and _fits(parts[1:], globs[1:])
