"""Enter the output folder step by step, so that nothing is written outside of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import groupby
from typing import NamedTuple

from ..core.errors import UnsafePath
from ..core.filesystem import Files, Folder, identity, open_below, open_root


class StagedMove(NamedTuple):
    """A staged file that is to get its final name."""

    source: str
    #: Below the output folder.
    final: str
    #: Id of the input that it belongs to; when one of its files is refused, the rest is left.
    owner: int


class SeenOutput(NamedTuple):
    """An output as it lies there."""

    size_bytes: int
    #: When it was written or got its name; infinite: not known.
    since_wall_s: float


class OutputTree:
    """The output folder and what may be written in it."""

    #: Whether `put_in_place` leaves the staged files where they are.
    leaves_sources = False

    def __init__(
        self, root: str, *, closed: Iterable[str] = (), files: Files | None = None
    ) -> None:
        """Take `root`, which must exist, without its `closed` folders and files.

        Closed are the state folder, the staging folder and the inputs, under any name they have.
        """
        self.root = root
        #: How everything below the root is written.
        self.files = files or Files()
        self._closed = {identity(os.stat(path)) for path in closed}

    def path_of(self, final: str) -> str:
        """Return the path of an output, for reading."""
        return os.path.join(self.root, final)

    def holds(self, final: str) -> bool:
        """Whether something has the name of this output."""
        try:
            seen = os.lstat(self.path_of(final))
        except (FileNotFoundError, NotADirectoryError):
            return False
        self._refuse_closed(seen, final)
        return True

    def seen(self, final: str) -> SeenOutput | None:
        """Return what the file system says of an output; None: it is not there."""
        try:
            seen = os.lstat(self.path_of(final))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return SeenOutput(seen.st_size, seen.st_ctime)

    def names_in(self, folder: str) -> Iterator[str]:
        """Yield the names of what a folder ("" is the root) holds, other folders left out."""
        path = os.path.join(self.root, folder)
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(path) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    yield entry.name

    def put_in_place(self, moves: Sequence[StagedMove]) -> dict[int, Exception]:
        """Move files into place, and their names to the disk; return by owner what went wrong."""
        errors: dict[int, Exception] = {}
        in_order = sorted(moves, key=lambda move: os.path.split(move.final))
        for path, group in groupby(in_order, key=lambda move: os.path.dirname(move.final)):
            self._put_into(path, list(group), errors)
        return errors

    def put_again(self, source: str, final: str) -> None:
        """Bring one file into place that a dead process may have moved already, to the disk."""
        parent, name = os.path.split(final)
        self.files.sync(source)
        with self.folder(parent, sync_all=True) as folder:
            if source != self.path_of(final):
                self.files.move(source, folder, name)
            self.files.sync_folder(folder)

    def close(self) -> None:
        """Nothing is kept open."""

    def _put_into(
        self, path: str, moves: Sequence[StagedMove], errors: dict[int, Exception]
    ) -> None:
        try:
            with self.folder(path) as folder:
                for move in moves:
                    if move.owner in errors:
                        continue
                    try:
                        self.files.move(move.source, folder, os.path.basename(move.final))
                    except OSError as exc:
                        errors[move.owner] = exc
                self.files.sync_folder(folder)
        except (OSError, UnsafePath) as exc:
            for move in moves:
                errors.setdefault(move.owner, exc)

    @contextmanager
    def folder(self, path: str, *, sync_all: bool = False) -> Iterator[Folder]:
        """Open a folder below the root ("" is the root), making and syncing what is missing.

        With `sync_all` the folders above are synced as well: a dead process may have made them.
        """
        with ExitStack() as opened:
            here = opened.enter_context(open_root(self.root))
            for name in filter(None, path.split("/")):
                if sync_all:
                    self.files.sync_folder(here)
                here = self._enter(here, name)
                opened.callback(os.close, here.fd)
                self._refuse_closed(os.fstat(here.fd), here.path)
            yield here

    def _enter(self, parent: Folder, name: str) -> Folder:
        try:
            return open_below(parent, name)
        except FileNotFoundError:
            self.files.make_folder(parent, name)
            self.files.sync_folder(parent)
            return open_below(parent, name)

    def _refuse_closed(self, seen: os.stat_result, path: str) -> None:
        if identity(seen) in self._closed:
            raise UnsafePath(
                f"{path!r} belongs to the inputs or to the toolkit; outputs may not go there.",
                path=path,
            )
