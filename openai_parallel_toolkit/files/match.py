"""Say which inputs are wanted and what their outputs are called."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..core.errors import ConfigError, ScanError

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
        return os.path.splitext(name)[0] if self.output_names == "stem" else name

    def without_ext(self, path: str) -> str:
        """Return the output's path without extension for an input; both relative."""
        folder, name = os.path.split(path)
        return os.path.join(folder, self.stem(name))


def lay_out(input_path: str, output_path: str, *, output_names: str = "stem") -> Layout:
    """Decide what the two paths that a user gave mean.

    With a single input file, an output path that ends in an extension, or is a file already,
    names the output: its parent is the output folder, its stem the output's stem.

    Raises:
        ScanError: there is no such input, or it is neither a file nor a folder.
        ConfigError: the output folder is the input folder, or a file.
    """
    root, name = find_input(input_path)
    if name is None:
        return _folder_layout(root, output_path, output_names)
    output, stem = split_output(output_path)
    return Layout(
        input_root=root, output_root=output, only=name, output_stem=stem, output_names=output_names
    )


def find_input(input_path: str) -> tuple[str, str | None]:
    """Return the input folder, and the single input in it or None.

    Raises:
        ScanError: there is no such input, or it is neither a file nor a folder.
    """
    if os.path.isdir(input_path):
        return os.path.abspath(input_path), None
    if not os.path.lexists(input_path):
        raise ScanError(
            f"There is no input at {os.path.abspath(input_path)!r}; mend input_path.",
            path=input_path,
        )
    if not os.path.isfile(input_path):
        raise ScanError(f"{input_path!r} is neither a file nor a folder.", path=input_path)
    return os.path.split(os.path.abspath(input_path))


def split_output(output_path: str) -> tuple[str, str | None]:
    """Return where the output of a single input goes, and its stem if the path names one."""
    if not _names_a_file(output_path):
        return os.path.abspath(output_path), None
    folder, file = os.path.split(os.path.abspath(output_path))
    return folder, os.path.splitext(file)[0]


def _folder_layout(input_path: str, output_path: str, output_names: str) -> Layout:
    if os.path.isfile(output_path):
        raise ConfigError(f"output_path {output_path!r} is a file; the input is a folder.")
    if os.path.realpath(input_path) == os.path.realpath(output_path):
        raise ConfigError(f"Outputs would lie among the inputs in {input_path!r}; choose another.")
    return Layout(
        input_root=input_path, output_root=os.path.abspath(output_path), output_names=output_names
    )


def _names_a_file(path: str) -> bool:
    if os.path.isdir(path) or path.endswith(os.sep):
        return False
    return os.path.isfile(path) or bool(os.path.splitext(path)[1])


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
    retry_aside: bool = False
    #: Whether every file is due, whatever exists.
    force: bool = False
    #: How many files to work on; None: all that are due.
    file_count: int | None = None

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
