"""Inputs from an object store, and outputs to one."""

from __future__ import annotations

import errno
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager

from ..core.errors import ConfigError, StorageError, UnsafePath
from ..core.filesystem import (
    as_toolkit_error,
    check_relative,
    path_bytes,
    path_text,
)
from ..core.own_files import private_folder
from ..core.text import counted
from ..core.threads import Helpers
from .inputs import InputCopies, Inputs, Kind, LocalCopy
from .output_tree import OutputTree, SeenOutput, StagedMove
from .spill import SpillDatabase
from .stores import Store, StoredObject

#: Uploads at a time.
_UPLOADS = 16
#: In the state folder, where inputs are fetched to.
FETCHED = "fetched"
_FILE, _FOLDER = b"-", b"/"


class Listing:
    """What one look into a store found, folder by folder, on disk; for many threads."""

    def __init__(self, folder: str) -> None:
        """Make an empty listing that takes its disk space from `folder`."""
        self._spill = SpillDatabase(folder)
        #: Files whose names no path can have, which were left out.
        self.odd_count = 0
        #: The first of them.
        self.odd_example = ""

    def fill(self, found: Iterable[StoredObject]) -> None:
        """Take in all that a store lists."""
        self._spill.put(self._entries(found))

    def add(self, path: str, size_bytes: int = 0) -> None:
        """Take in one more file."""
        self._spill.put([(_key(_FILE, path_bytes(path)), f"{size_bytes} ")])

    def size_bytes(self, path: str) -> int | None:
        """Return a file's size; None: there is no such file."""
        found = self._found(path)
        return None if found is None else int(found.partition(" ")[0])

    def signature(self, path: str) -> str | None:
        """Return what changes when a file is written to; None: it is not known."""
        return (self._found(path) or "").partition(" ")[2] or None

    def _found(self, path: str) -> str | None:
        found: str | None = self._spill.get(_key(_FILE, path_bytes(path)))
        return found

    def files(self, folder: str) -> Iterator[str]:
        """Yield the names of the files in a folder ("" is the root), sorted."""
        return map(path_text, self._spill.keys(_FILE + path_bytes(folder) + b"\0"))

    def folders(self, folder: str) -> Iterator[str]:
        """Yield the names of the folders in a folder, sorted."""
        return map(path_text, self._spill.keys(_FOLDER + path_bytes(folder) + b"\0"))

    def close(self) -> None:
        """Give the disk space back."""
        self._spill.close()

    def _entries(self, found: Iterable[StoredObject]) -> Iterator[tuple[bytes, str | None]]:
        last = b""
        for file in found:
            try:
                path = path_bytes(check_relative(file.path))
            except UnsafePath:
                self.odd_example = self.odd_example or file.path
                self.odd_count += 1
                continue
            yield _key(_FILE, path), f"{file.size_bytes} {file.signature}"
            folder = path.rpartition(b"/")[0]
            if folder != last:
                last = folder
                while folder:
                    yield _key(_FOLDER, folder), None
                    folder = folder.rpartition(b"/")[0]


class FetchedCopies(InputCopies):
    """Objects of a store, each fetched when it is wanted."""

    def __init__(self, store: Store, folder: str) -> None:
        """Fetch into a local folder."""
        self._store = store
        self._folder = folder

    @contextmanager
    def local_copy(self, path: str) -> Iterator[LocalCopy]:
        # The name stays, for hooks that look at it.
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            copy = os.path.join(folder, os.path.basename(path))
            yield LocalCopy(copy, self._store.fetch(path, copy).signature)


class RemoteInputs(Inputs):
    """The objects of a store, listed once; each is fetched when it is wanted."""

    def __init__(self, store: Store, state_folder: str, *, own: str | None = None) -> None:
        """List the store; listing and fetched inputs take their disk space in `state_folder`.

        `own`: the folder among the inputs where outputs go, which is no input; None: there is none.
        """
        self._own = own
        self._folder = os.path.join(state_folder, FETCHED)
        shutil.rmtree(self._folder, ignore_errors=True)  # of a run that was killed
        private_folder(self._folder)
        self._copies = FetchedCopies(store, self._folder)
        self._listing = listing_of(store, state_folder)

    @property
    def notes(self) -> tuple[str, ...]:
        count, example = self._listing.odd_count, self._listing.odd_example
        if not count:
            return ()
        return (
            f"{counted(count, 'object')} left out, whose name makes no path, first {example!r}.",
        )

    @contextmanager
    def entries(self, folder: str) -> Iterator[Iterator[tuple[str, Kind]]]:
        yield self._entries(folder)

    def _entries(self, folder: str) -> Iterator[tuple[str, Kind]]:
        for name in self._listing.files(folder):
            yield name, "file"
        for name in self._listing.folders(folder):
            yield name, "own" if os.path.join(folder, name) == self._own else "folder"

    def local_copy(self, path: str) -> AbstractContextManager[LocalCopy]:
        return self._copies.local_copy(path)

    def size_bytes(self, path: str) -> int:
        return self._listing.size_bytes(path) or 0

    def signature(self, path: str) -> str | None:
        return self._listing.signature(path)

    def signature_of_same(self, path: str, signature: str) -> str | None:
        return signature if self.signature(path) in (None, signature) else None

    def close(self) -> None:
        """Give the disk space back."""
        self._listing.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class RemoteTree(OutputTree):
    """An output prefix in an object store, listed once; nobody else is expected to write there."""

    leaves_sources = True

    def __init__(
        self, store: Store, root: str, state_folder: str, *, closed: str | None = None
    ) -> None:
        """List what is there; `root` is the local folder that stands for the output.

        `closed` is the folder among the outputs where inputs are; None: there is none.
        """
        super().__init__(root)
        self._store = store
        self._closed_folder = closed
        self._listing = listing_of(store, state_folder)
        self._uploads = Helpers(_UPLOADS - 1, "upload")

    def holds(self, final: str) -> bool:
        if self._closed_folder is not None and f"{final}/".startswith(f"{self._closed_folder}/"):
            raise UnsafePath(
                f"{final!r} belongs to the inputs; outputs may not go there.", path=final
            )
        return self._listing.size_bytes(final) is not None

    def names_in(self, folder: str) -> Iterator[str]:
        return self._listing.files(folder)

    def seen(self, final: str) -> SeenOutput | None:
        size_bytes = self._listing.size_bytes(final)
        return None if size_bytes is None else SeenOutput(size_bytes, math.inf)

    def put_in_place(self, moves: Sequence[StagedMove]) -> dict[int, Exception]:
        errors: dict[int, Exception] = {}
        for move, error in zip(moves, self._uploads.map(self._refusal, moves), strict=True):
            if error is not None:
                errors.setdefault(move.owner, error)
        return errors

    def put_again(self, source: str, final: str) -> None:
        try:
            self._store.publish(source, final)
        except (OSError, StorageError) as exc:
            # Like a disk that refuses: the next upload would fare no better.
            url = self._store.url(final)
            told = as_toolkit_error(exc, url).message
            raise StorageError(told, errno=errno.EIO, path=url) from exc
        self._listing.add(final)

    def close(self) -> None:
        """Give the disk space back."""
        self._uploads.close()
        self._listing.close()

    def _refusal(self, move: StagedMove) -> Exception | None:
        try:
            self.put_again(move.source, move.final)
        except (StorageError, UnsafePath) as exc:
            return exc
        return None


def no_bucket(store: Store) -> ConfigError:
    """Return the error for a store whose bucket or container does not exist."""
    return ConfigError(
        f"{store.url()} cannot be listed: there is no such bucket or container; make it first."
    )


def listing_of(store: Store, state_folder: str) -> Listing:
    """Look once at all that a store holds."""
    with ExitStack() as stack:
        listing = stack.enter_context(closing(Listing(state_folder)))
        try:
            listing.fill(store.list())
        except FileNotFoundError as exc:
            raise no_bucket(store) from exc
        stack.pop_all()
    return listing


def _key(kind: bytes, path: bytes) -> bytes:
    """Return a key that sorts by folder, then by name."""
    folder, _, name = path.rpartition(b"/")
    return kind + folder + b"\0" + name
