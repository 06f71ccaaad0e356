"""Give each execution of a file's hooks a place of its own to write to.

An execution writes to `<staging>/<token>/<name of the output folder>/<path without extension>`:
the path ends like the final one, and what steps above its output folder is noticed.
"""

from __future__ import annotations

import itertools
import logging
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from ..core.errors import UnsafePath
from ..core.filesystem import digest, private_folder
from ..core.records import OutputFile

logger = logging.getLogger(__name__)

_OWN_NAME = ".openai_parallel_toolkit-staging"
_OUTPUT = "output"


class Staging:
    """The folder, on the output's own file system, where executions write.

    Making and removing folders costs more than writing a small file, so a place whose outputs
    were all moved away serves again for the same output folder. One lock guards `_free`.
    """

    def __init__(self, output_root: str, state_folder: str) -> None:
        """Make the staging folder: in the state folder when that lies in the output folder."""
        self.output_root = os.path.realpath(output_root)
        self.root = private_folder(self._place(os.path.realpath(state_folder)))
        self._output_name = os.path.basename(self.output_root) or _OUTPUT
        self._run = secrets.token_hex(4)
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._free: dict[str, list[_Place]] = {}

    def begin(self, without_ext: str) -> StagedFolder:
        """Make a place for one execution; `without_ext` is the output below the output folder."""
        parent = os.path.dirname(without_ext)
        with self._lock:
            free = self._free.get(parent)
            place = free.pop() if free else None
        return StagedFolder(
            place=place or self._new_place(parent),
            without_ext=without_ext,
            give_back=self._give_back,
        )

    def _new_place(self, parent: str) -> _Place:
        token = f"{self._run}-{next(self._numbers)}"
        path = os.path.join(self.root, token)
        folder = os.path.join(path, self._output_name, parent)
        os.mkdir(path, 0o700)
        os.makedirs(folder)
        base = os.path.join(path, self._output_name)
        made_ns = os.stat(path).st_mtime_ns
        return _Place(token=token, path=path, base=base, parent=parent, made_ns=made_ns)

    def _give_back(self, place: _Place) -> None:
        with self._lock:
            self._free.setdefault(place.parent, []).append(place)

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
class _Place:
    """A folder in the staging folder that one execution at a time writes to."""

    #: Its name; never used by another place.
    token: str
    path: str
    #: Stands for the output folder.
    base: str
    #: Where outputs go below `base`.
    parent: str
    #: When `path` was last changed, by us; nothing but `base` is ever to be in it.
    made_ns: int


class StagedFolder:
    """One execution's place in the staging folder."""

    def __init__(
        self,
        *,
        place: _Place,
        without_ext: str,
        give_back: Callable[[_Place], None],
    ) -> None:
        self._place = place
        self._give_back = give_back
        self._is_flat = False
        #: What `process_output` is given.
        self.path_without_ext = os.path.join(place.base, without_ext)

    def collect(self) -> tuple[OutputFile, ...]:
        """List what was written, in the order of the paths; it begins to go to the disk.

        Raises:
            UnsafePath: something is not an ordinary file, or lies above its output folder.
            OSError: the disk refused.
        """
        if os.stat(self._place.path).st_mtime_ns != self._place.made_ns:
            raise UnsafePath(
                "Something was written above the output folder; write below the path that the "
                "hook was given.",
                path=self.path_without_ext,
            )
        paths = sorted(_walk(self._place.base))
        folder = os.path.dirname(self.path_without_ext)
        self._is_flat = all(os.path.dirname(path) == folder for path in paths)
        return tuple(self._read(path) for path in paths)

    def release(self) -> None:
        """Let the place serve again: all that was collected was moved away."""
        if self._is_flat:
            self._give_back(self._place)
        else:
            self.discard()

    def discard(self) -> None:
        """Remove the place with all that is left in it, or leave it to the next start's sweep."""
        try:
            _remove(self._place.path)
        except OSError as exc:
            logger.warning("%s is left for the next start to remove: %s", self._place.path, exc)

    def _read(self, path: str) -> OutputFile:
        size_bytes, sha256 = digest(path, starts_writing=True)
        final = path[len(self._place.base) + 1 :]
        staged = os.path.join(self._place.token, os.path.basename(self._place.base), final)
        return OutputFile(staged=staged, final=final, size_bytes=size_bytes, sha256=sha256)


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
