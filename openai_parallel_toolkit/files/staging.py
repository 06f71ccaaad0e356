"""Give each execution of a file's hooks a folder of its own to write to.

An execution writes to `<staging>/<token>/_/.../_/<name of the output folder>/<path without
extension>`: the path ends like the final one, and what steps above its output folder ends in one of
the levels that are there to notice it.
"""

from __future__ import annotations

import itertools
import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..core.errors import UnsafePath
from ..core.filesystem import digest
from ..core.logs import logger_of
from ..core.own_files import private_folder
from ..core.records import OutputFile
from ..core.text import counted

logger = logger_of(__name__)

_OWN_NAME = ".openai_parallel_toolkit-staging"
_OUTPUT = "output"
#: Names in the staging folder: executions', common files'.
_OURS = re.compile(r"[0-9a-f]+-\d+|common-\d+")
#: Folders above the one that stands for the output folder, in which nothing else is ever to be.
_LEVELS = 16
#: When they were last changed, as they say, in ns: long ago, so that any change shows.
_LONG_AGO_NS = 10**18
_TOKEN_BYTES = 6


class Staging:
    """The folder, on the output's own file system, where executions write.

    Making and removing folders costs more than writing a small file, so one whose outputs were all
    moved away serves again for the same output folder. One lock guards `_free`, `_written` and
    `_is_closed`.
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
        #: By their outputs' folder.
        self._free: dict[str, list[_Place]] = {}
        #: Those in the hands of hooks.
        self._written: set[str] = set()
        self._is_closed = False

    def begin(self, without_ext: str) -> StagedFolder:
        """Make a folder for one execution; `without_ext` is the output below the output folder."""
        parent = os.path.dirname(without_ext)
        with self._lock:
            free = self._free.get(parent)
            used = free.pop() if free else None
        place = used or self._make(parent)
        with self._lock:
            self._written.add(place.path)
        return StagedFolder(
            place=place,
            parent=parent,
            path_without_ext=os.path.join(place.base, without_ext),
            token=self.token,
            staging=self,
        )

    def _make(self, parent: str) -> _Place:
        path = os.path.join(self.root, f"{self.token}-{next(self._numbers)}")
        os.mkdir(path, 0o700)
        levels = [path]
        while len(levels) < _LEVELS:
            levels.append(f"{levels[-1]}/_")
        base = os.path.join(levels[-1], self._output_name)
        os.makedirs(os.path.join(base, parent))
        for level in levels:
            os.utime(level, ns=(_LONG_AGO_NS, _LONG_AGO_NS))
        return _Place(path, base, levels)

    def hand_over(self, folder: StagedFolder) -> None:
        """Take a folder out of the hands of its hooks."""
        with self._lock:
            self._written.discard(folder.path)

    def give_back(self, folder: StagedFolder) -> None:
        """Let a folder that is empty again serve others."""
        with self._lock:
            self._free.setdefault(folder.parent, []).append(folder.place)

    def remove(self, folder: StagedFolder) -> None:
        """Remove a folder with all that is in it; the last one of a run that is over, all."""
        self.hand_over(folder)
        _remove(folder.path)
        if self._is_closed:
            self.close()

    def path_of(self, output: OutputFile) -> str:
        """Return where a staged output lies."""
        return os.path.join(self.root, output.staged)

    def sweep(self) -> None:
        """Remove what dead runs left. Finish intents before."""
        for name in os.listdir(self.root):
            _remove(os.path.join(self.root, name))

    def close(self) -> None:
        """Remove the staging folder, unless something in it is still to be published."""
        with self._lock:
            self._is_closed = True
            free, self._free = self._free, {}
            written, self._written = self._written, set()
        with suppress(OSError):
            places = (place.path for place in itertools.chain(*free.values()))
            for path in itertools.chain(places, written, self._foreign()):
                _remove(path)
            os.rmdir(self.root)

    def _foreign(self) -> list[str]:
        """Return what hooks wrote here, from so far above that nobody can tell which of them."""
        found = [name for name in os.listdir(self.root) if not _OURS.fullmatch(name)]
        if found:
            logger.warning(
                "a hook wrote above its output folder, through `../`: %s removed, first %r; write "
                "below the path that the hook was given",
                counted(len(found), "name"),
                found[0],
            )
        return [os.path.join(self.root, name) for name in found]

    def _root_of(self, state_folder: str) -> str:
        inside = os.path.commonpath([self.output_root, state_folder]) == self.output_root
        if inside and os.stat(state_folder).st_dev == os.stat(self.output_root).st_dev:
            return os.path.join(state_folder, "staging")
        return os.path.join(self.output_root, _OWN_NAME)


class _Place(NamedTuple):
    """A folder in the staging folder, which serves one execution after another."""

    path: str
    #: Stands for the output folder.
    base: str
    #: What is above that, from `path` on.
    levels: Sequence[str]


@dataclass(slots=True, kw_only=True)
class StagedFolder:
    """One execution's folder in the staging folder; its name was never another's."""

    place: _Place
    #: Where outputs go below `base`.
    parent: str
    #: What `process_output` is given.
    path_without_ext: str
    #: That of the staging folder.
    token: str
    #: What has made it; None: it was lent to this process.
    staging: Staging | None = None
    #: Whether all outputs lie where the next execution's will.
    is_flat: bool = False

    @property
    def path(self) -> str:
        return self.place.path

    def collect(self) -> tuple[OutputFile, ...]:
        """List what was written, in the order of the paths; it begins to go to the disk.

        Raises:
            UnsafePath: something is not an ordinary file, or lies above its output folder.
            OSError: the disk refused.
        """
        if any(seen.st_mtime_ns != _LONG_AGO_NS for seen in map(os.stat, self.place.levels)):
            raise UnsafePath(
                "Something was written above the output folder; write below the path that the "
                "hook was given.",
                path=self.path_without_ext,
            )
        self.take_back(is_flat=False)
        paths = sorted(_walk(self.place.base))
        folder = os.path.dirname(self.path_without_ext)
        self.is_flat = all(os.path.dirname(path) == folder for path in paths)
        return tuple(self._read(path) for path in paths)

    def lent(self) -> StagedFolder:
        """Return it for hooks that run in another process."""
        return replace(self, staging=None)

    def take_back(self, *, is_flat: bool) -> None:
        """Take it out of the hands of hooks that have returned."""
        self.is_flat = is_flat
        if self.staging is not None:
            self.staging.hand_over(self)

    def release(self) -> None:
        """Let the folder serve again: all that was collected was moved away."""
        if self.is_flat and self.staging is not None:
            self.staging.give_back(self)
        else:
            self.discard()

    def discard(self) -> None:
        """Remove the folder with all that is left in it, or leave it to the next start's sweep."""
        try:
            if self.staging is not None:
                self.staging.remove(self)
        except OSError as exc:
            logger.warning("%s is left for the next start to remove: %s", self.path, exc)

    def _read(self, path: str) -> OutputFile:
        look = _ContentLook(os.fsencode(self.token))
        size_bytes, sha256 = digest(path, starts_writing=True, see=look.see)
        root = os.path.dirname(self.path)
        return OutputFile(
            staged=path[len(root) + 1 :],
            final=path[len(self.place.base) + 1 :],
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
