"""Keep what one look into a store found, folder by folder, on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..core.errors import UnsafePath
from ..core.filesystem import check_relative, path_bytes, path_text
from .spill import SpillDatabase
from .stores import StoredObject

_FILE, _FOLDER = b"-", b"/"


class Listing:
    """The files of a store and the folders that they make; for many threads."""

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
        self._spill.put([(_key(_FILE, path_bytes(path)), size_bytes)])

    def size_bytes(self, path: str) -> int | None:
        """Return a file's size; None: there is no such file."""
        found: int | None = self._spill.get(_key(_FILE, path_bytes(path)))
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

    def _entries(self, found: Iterable[StoredObject]) -> Iterator[tuple[bytes, int | None]]:
        last = b""
        for file in found:
            try:
                path = path_bytes(check_relative(file.path))
            except UnsafePath:
                self.odd_example = self.odd_example or file.path
                self.odd_count += 1
                continue
            yield _key(_FILE, path), file.size_bytes
            folder = path.rpartition(b"/")[0]
            if folder != last:
                last = folder
                while folder:
                    yield _key(_FOLDER, folder), None
                    folder = folder.rpartition(b"/")[0]


def _key(kind: bytes, path: bytes) -> bytes:
    """Return a key that sorts by folder, then by name."""
    folder, _, name = path.rpartition(b"/")
    return kind + folder + b"\0" + name
