"""Give each execution of a file's hooks a folder of its own to write to.

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
_TOKEN_BYTES = 6


class Staging:
    """The folder, on the output's own file system, where executions write.

    Making and removing folders costs more than writing a small file, so one whose outputs were all
    moved away serves again for the same output folder. One lock guards `_free`.
    """

    def __init__(self, output_root: str, state_folder: str) -> None:
        """Make the staging folder: in the state folder when that lies in the output folder."""
        self.output_root = os.path.realpath(output_root)
        self.root = private_folder(self._root_of(os.path.realpath(state_folder)))
        self._output_name = os.path.basename(self.output_root) or _OUTPUT
        #: Part of every staged path that no other text holds.
        self.token = secrets.token_hex(_TOKEN_BYTES)
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        #: By their outputs' folder: paths, and when they were made.
        self._free: dict[str, list[tuple[str, int]]] = {}

    def begin(self, without_ext: str) -> StagedFolder:
        """Make a folder for one execution; `without_ext` is the output below the output folder."""
        parent = os.path.dirname(without_ext)
        with self._lock:
            free = self._free.get(parent)
            used = free.pop() if free else None
        path, made_ns = used or self._make(parent)
        base = os.path.join(path, self._output_name)
        return StagedFolder(
            path=path,
            made_ns=made_ns,
            base=base,
            parent=parent,
            path_without_ext=os.path.join(base, without_ext),
            give_back=self._give_back,
            token=self.token,
        )

    def _make(self, parent: str) -> tuple[str, int]:
        path = os.path.join(self.root, f"{self.token}-{next(self._numbers)}")
        os.mkdir(path, 0o700)
        os.makedirs(os.path.join(path, self._output_name, parent))
        return path, os.stat(path).st_mtime_ns

    def _give_back(self, folder: StagedFolder) -> None:
        with self._lock:
            self._free.setdefault(folder.parent, []).append((folder.path, folder.made_ns))

    def path_of(self, output: OutputFile) -> str:
        """Return where a staged output lies."""
        return os.path.join(self.root, output.staged)

    def sweep(self) -> None:
        """Remove what dead runs left. Finish intents before."""
        for name in os.listdir(self.root):
            _remove(os.path.join(self.root, name))

    def close(self) -> None:
        """Remove the staging folder, unless something is left to be published or still written."""
        with self._lock:
            free, self._free = self._free, {}
        with suppress(OSError):
            for path, _ in itertools.chain.from_iterable(free.values()):
                _remove(path)
            os.rmdir(self.root)

    def _root_of(self, state_folder: str) -> str:
        inside = os.path.commonpath([self.output_root, state_folder]) == self.output_root
        if inside and os.stat(state_folder).st_dev == os.stat(self.output_root).st_dev:
            return os.path.join(state_folder, "staging")
        return os.path.join(self.output_root, _OWN_NAME)


@dataclass(slots=True, kw_only=True)
class StagedFolder:
    """One execution's folder in the staging folder; its name was never another's."""

    path: str
    #: When it was last changed, by us; nothing but `base` is ever to be in it.
    made_ns: int
    #: Stands for the output folder.
    base: str
    #: Where outputs go below `base`.
    parent: str
    #: What `process_output` is given.
    path_without_ext: str
    give_back: Callable[[StagedFolder], None]
    #: Part of `path` that no other text holds.
    token: str
    #: Whether all outputs lie where the next execution's will.
    is_flat: bool = False

    def collect(self) -> tuple[OutputFile, ...]:
        """List what was written, in the order of the paths; it begins to go to the disk.

        Raises:
            UnsafePath: something is not an ordinary file, or lies above its output folder.
            OSError: the disk refused.
        """
        if os.stat(self.path).st_mtime_ns != self.made_ns:
            raise UnsafePath(
                "Something was written above the output folder; write below the path that the "
                "hook was given.",
                path=self.path_without_ext,
            )
        paths = sorted(_walk(self.base))
        folder = os.path.dirname(self.path_without_ext)
        self.is_flat = all(os.path.dirname(path) == folder for path in paths)
        return tuple(self._read(path) for path in paths)

    def release(self) -> None:
        """Let the folder serve again: all that was collected was moved away."""
        if self.is_flat:
            self.give_back(self)
        else:
            self.discard()

    def discard(self) -> None:
        """Remove the folder with all that is left in it, or leave it to the next start's sweep."""
        try:
            _remove(self.path)
        except OSError as exc:
            logger.warning("%s is left for the next start to remove: %s", self.path, exc)

    def _read(self, path: str) -> OutputFile:
        look = _ContentLook(os.fsencode(self.token))
        size_bytes, sha256 = digest(path, starts_writing=True, see=look.see)
        root = os.path.dirname(self.path)
        return OutputFile(
            staged=path[len(root) + 1 :],
            final=path[len(self.base) + 1 :],
            size_bytes=size_bytes,
            sha256=sha256,
            is_blank=look.is_blank,
            names_staging=look.names_staging,
        )


class _ContentLook:
    """What is worth telling of an output's content."""

    def __init__(self, token: bytes) -> None:
        self.is_blank = True
        self.names_staging = False
        self._token = token

    def see(self, piece: bytes) -> None:
        """Take in the next piece."""
        self.is_blank = self.is_blank and piece.isspace()
        self.names_staging = self.names_staging or self._token in piece


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
