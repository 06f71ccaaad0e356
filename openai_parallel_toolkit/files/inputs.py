"""List the inputs and bring them to the local disk."""

from __future__ import annotations

import hashlib
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, NamedTuple

from ..core.errors import ScanError
from ..core.file_kinds import exists, raise_unless_mistaken
from ..core.filesystem import closing_fd, identity

#: Larger inputs are known by size and time alone: reading them twice would be felt.
_MOST_HASHED_BYTES = 64 * 1_048_576
_PIECE_BYTES = 1_048_576
_HASH_CHARACTERS = 16
_THEN_HASH = ":"
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK

#: "linked" is a link to a folder, "special" what is neither file nor folder, "own" the toolkit's.
Kind = Literal["file", "folder", "linked", "special", "own"]


#: Told a name and a signature, says how that input looks now if it is the same, else None.
Same = Callable[[str, str], "str | None"]


class LocalCopy(NamedTuple):
    """An input on the local disk."""

    path: str
    #: Of these bytes; None: `signature_of_open` gives it.
    signature: str | None


class InputCopies(ABC):
    """Brings inputs to the local disk. Paths are relative to the input folder."""

    @abstractmethod
    def local_copy(self, path: str) -> AbstractContextManager[LocalCopy]:
        """Have an input on the local disk for the block."""

    def check_unchanged(self, path: str, signature: str) -> bool:
        """Whether an input still is what was read; False: it is gone.

        Raises:
            ScanError: it was written to.
        """
        del path, signature
        return True  # of a copy


class Inputs(InputCopies):
    """Where inputs come from. Paths are relative to the input folder."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of them, one sentence each."""
        return ()

    @abstractmethod
    def entries(self, folder: str) -> AbstractContextManager[Iterator[tuple[str, Kind]]]:
        """Open a folder ("" is the root) for the block, which gets the names in it, unsorted.

        Raises:
            ScanError: it cannot be read.
        """

    @contextmanager
    def same_in(self, folder: str) -> Iterator[Same]:
        """Open a folder for the block, which gets `signature_of_same` by the names in it."""
        yield lambda name, signature: self.signature_of_same(_join(folder, name), signature)

    @abstractmethod
    def size_bytes(self, path: str) -> int:
        """Return an input's size; 0 when it cannot be told."""

    def is_own(self, path: str) -> bool:
        """Whether a file is the toolkit's own, so that it is no input."""
        del path
        return False

    @abstractmethod
    def signature(self, path: str) -> str | None:
        """Return what an input looks like, without reading it; None: that cannot be told."""

    @abstractmethod
    def signature_of_same(self, path: str, signature: str) -> str | None:
        """Return how an input looks now if it holds what it held under a signature; None: no.

        One that looks as before is not read, and one that cannot be looked at is taken for it.
        """


class LocalInputs(Inputs):
    """The files of a folder on this machine."""

    def __init__(self, root: str, *, never: Iterable[str] = ()) -> None:
        """Take the folder; files and folders in `never` that exist are the toolkit's own."""
        self._root = root
        own = [path for path in never if exists(path)]
        self._never = {identity(os.stat(path)) for path in own}
        #: Files with other names need no look at the disk.
        self._never_names = {
            os.path.basename(p) for path in own for p in (path, os.path.realpath(path))
        }

    @contextmanager
    def entries(self, folder: str) -> Iterator[Iterator[tuple[str, Kind]]]:
        path = os.path.join(self._root, folder)
        try:
            with os.scandir(path) as found:
                yield ((entry.name, self._kind(entry)) for entry in found)
        except OSError as exc:
            raise_unless_mistaken(exc, path)
            reason = exc.strerror or type(exc).__name__
            raise ScanError(
                f"The input folder {path!r} cannot be read: {reason}. Mend it or exclude it.",
                path=path,
            ) from exc

    @contextmanager
    def same_in(self, folder: str) -> Iterator[Same]:
        try:
            fd = os.open(os.path.join(self._root, folder), _READ | os.O_DIRECTORY)
        except OSError:  # none of its files can be looked at
            yield lambda _, signature: signature
            return

        def same(name: str, signature: str) -> str | None:
            try:
                seen = os.stat(name, dir_fd=fd)
            except OSError:  # its own run will tell
                return signature
            look = f"{seen.st_size}-{seen.st_mtime_ns}"  # as `signature_of`
            if signature.partition(_THEN_HASH)[0] == look:
                return signature
            return self._fresh_signature(_join(folder, name), signature, look)

        with closing_fd(fd):
            yield same

    @contextmanager
    def local_copy(self, path: str) -> Iterator[LocalCopy]:
        yield LocalCopy(os.path.join(self._root, path), None)

    def size_bytes(self, path: str) -> int:
        try:
            return os.path.getsize(os.path.join(self._root, path))
        except OSError:  # its own run will tell
            return 0

    def is_own(self, path: str) -> bool:
        seen = os.stat(os.path.join(self._root, path))
        return os.path.basename(path) == ".env" or identity(seen) in self._never

    def check_unchanged(self, path: str, signature: str) -> bool:
        try:
            seen = os.stat(os.path.join(self._root, path))
        except FileNotFoundError:
            return False
        if signature_of(seen) != signature.partition(_THEN_HASH)[0]:
            raise ScanError(
                f"{path} was changed while it was worked on; run again to work on it as it is",
                path=path,
            )
        return True

    def signature(self, path: str) -> str | None:
        try:
            return signature_of(os.stat(self._root + "/" + path))
        except OSError:  # its own run will tell
            return None

    def signature_of_same(self, path: str, signature: str) -> str | None:
        now = self.signature(path)
        if now is None or now == signature.partition(_THEN_HASH)[0]:
            return signature
        return self._fresh_signature(path, signature, now)

    def _fresh_signature(self, path: str, signature: str, now: str) -> str | None:
        look, _, hash = signature.partition(_THEN_HASH)
        if not hash or now.partition("-")[0] != look.partition("-")[0]:
            return None
        try:
            with closing_fd(os.open(os.path.join(self._root, path), _READ)) as fd:
                fresh = signature_of_open(fd)
        except OSError:
            return signature
        return fresh if fresh.partition(_THEN_HASH)[2] == hash else None

    def _kind(self, entry: os.DirEntry[str]) -> Kind:
        try:
            if entry.is_file(follow_symlinks=False) and entry.name not in self._never_names:
                return "file"
            if not entry.is_dir():
                if entry.name in self._never_names and self._is_own(entry):
                    return "own"
                return "file" if entry.is_file() else "special"
        except OSError:  # a link that leads to itself
            return "special"
        if entry.is_symlink():
            return "linked"
        return "own" if self._is_own(entry) else "folder"

    def _is_own(self, entry: os.DirEntry[str]) -> bool:
        return identity(entry.stat()) in self._never


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def signature_of(seen: os.stat_result) -> str:
    """Return what changes when a file is written to."""
    return f"{seen.st_size}-{seen.st_mtime_ns}"


def signature_of_open(fd: int) -> str:
    """Return that of an open file, with a hash of its content if it is not too large.

    With the hash, a file that was only touched is known again.
    """
    seen = os.fstat(fd)
    look = signature_of(seen)
    if not stat.S_ISREG(seen.st_mode) or seen.st_size > _MOST_HASHED_BYTES:
        return look
    digest, at = hashlib.sha256(), 0
    while piece := os.pread(fd, min(_PIECE_BYTES, seen.st_size - at), at):
        digest.update(piece)
        at += len(piece)
    return f"{look}{_THEN_HASH}{digest.hexdigest()[:_HASH_CHARACTERS]}"
