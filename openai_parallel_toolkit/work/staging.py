"""Give each execution of a file's hooks a place of its own to write to.

An execution writes to `<staging>/<token>/<name of the output folder>/<path without extension>`:
the path ends like the final one, and what steps above its output folder is noticed.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from ..errors import UnsafePath
from ..files import open_regular, private_folder
from ..records import OutputFile

_CHUNK_BYTES = 1_048_576
_OWN_NAME = ".openai_parallel_toolkit-staging"
_OUTPUT = "output"


class Staging:
    """The folder, on the output's own file system, where executions write."""

    def __init__(self, output_root: str, state_folder: str) -> None:
        """Make the staging folder: in the state folder when that lies in the output folder."""
        self.output_root = os.path.realpath(output_root)
        self.root = private_folder(self._place(os.path.realpath(state_folder)))
        self._output_name = os.path.basename(self.output_root) or _OUTPUT
        self._run = secrets.token_hex(4)
        self._numbers = itertools.count()

    def begin(self, without_ext: str) -> Execution:
        """Make a place for one execution; `without_ext` is the output below the output folder."""
        token = f"{self._run}-{next(self._numbers)}"
        place = os.path.join(self.root, token)
        base = os.path.join(place, self._output_name)
        path = os.path.join(base, without_ext)
        os.mkdir(place, 0o700)
        os.makedirs(os.path.dirname(path))
        return Execution(token=token, place=place, base=base, path_without_ext=path)

    def path_of(self, output: OutputFile) -> str:
        """Return where a staged output lies."""
        return os.path.join(self.root, output.staged)

    def sweep(self) -> int:
        """Remove what dead runs left; return of how many executions. Finish intents before."""
        left = os.listdir(self.root)
        for name in left:
            _remove(os.path.join(self.root, name))
        return len(left)

    def close(self) -> None:
        """Remove the staging folder when it is empty."""
        with suppress(OSError):
            os.rmdir(self.root)

    def _place(self, state_folder: str) -> str:
        inside = os.path.commonpath([self.output_root, state_folder]) == self.output_root
        if inside and os.stat(state_folder).st_dev == os.stat(self.output_root).st_dev:
            return os.path.join(state_folder, "staging")
        return os.path.join(self.output_root, _OWN_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One execution's place in the staging folder."""

    #: Name of the place; never used twice.
    token: str
    place: str
    #: Stands for the output folder.
    base: str
    #: What `process_output` is given.
    path_without_ext: str

    def collect(self) -> tuple[OutputFile, ...]:
        """Read and list what was written, in the order of the paths.

        Raises:
            UnsafePath: something is not an ordinary file, or lies above its output folder.
        """
        for name in os.listdir(self.place):
            if name != os.path.basename(self.base):
                raise UnsafePath(
                    f"{name!r} was written above the output folder; write below the path "
                    "that the hook was given.",
                    path=name,
                )
        return tuple(self._read(path) for path in sorted(_walk(self.base)))

    def discard(self) -> None:
        """Remove the place with all that is left in it."""
        folder = os.path.dirname(self.path_without_ext)
        try:  # what was published left only empty folders: no need to list them
            while len(folder) >= len(self.place):
                os.rmdir(folder)
                folder = os.path.dirname(folder)
        except OSError:
            _remove(self.place)

    def _read(self, path: str) -> OutputFile:
        size_bytes, sha256 = digest(path)
        final = os.path.relpath(path, self.base)
        staged = os.path.join(self.token, os.path.basename(self.base), final)
        return OutputFile(staged=staged, final=final, size_bytes=size_bytes, sha256=sha256)


def digest(path: str) -> tuple[int, str]:
    """Return a regular file's size in bytes and the hex SHA-256 of its content.

    Raises:
        UnsafePath: it is a link, a special file or has a second name.
    """
    fd = open_regular(path)
    try:
        size_bytes, seen = 0, hashlib.sha256()
        while chunk := os.read(fd, _CHUNK_BYTES):
            size_bytes += len(chunk)
            seen.update(chunk)
        return size_bytes, seen.hexdigest()
    finally:
        os.close(fd)


def _walk(folder: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path)
        else:
            yield entry.path


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        with suppress(FileNotFoundError):
            os.unlink(path)
