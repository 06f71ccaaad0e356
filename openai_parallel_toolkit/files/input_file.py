"""Open inputs so that nothing that has taken their place can hold a run up."""

from __future__ import annotations

import errno
import io
import os
import stat
from typing import Any

from ..core.errors import ScanError

#: What a file may have grown by since it was opened: more is taken for one that never ends.
_MOST_GROWTH_BYTES = 64 * 1024 * 1024
#: What opening raises for what is no ordinary file: a folder, a socket, a device without a driver.
_NO_FILE = (errno.EISDIR, errno.ENXIO, errno.ENODEV, errno.EOPNOTSUPP)
_CHUNK_BYTES = 65_536


class InputFile(io.FileIO):
    """An ordinary file that is open for reading, to an end that it had when it was opened."""

    def __init__(self, path: str) -> None:
        """Open it, following links.

        Raises:
            ScanError: it is a folder, FIFO, socket or device.
            OSError: it cannot be opened.
        """
        try:
            super().__init__(path, "rb", opener=_open_without_waiting)
        except OSError as exc:
            if exc.errno in _NO_FILE:
                raise _no_file(path) from exc
            raise
        seen = os.fstat(self.fileno())
        if not stat.S_ISREG(seen.st_mode):
            self.close()
            raise _no_file(path)
        self._last_byte = seen.st_size + _MOST_GROWTH_BYTES

    def readinto(self, buffer: Any, /) -> int:
        count = super().readinto(buffer) or 0
        if count and self.tell() > self._last_byte:
            raise self._grew()
        return count

    def readall(self) -> bytes:
        at, parts = self.tell(), list[bytes]()
        wanted = max(_CHUNK_BYTES, self._last_byte - _MOST_GROWTH_BYTES - at + 1)
        while part := super().read(wanted) or b"":
            parts.append(part)
            at, wanted = at + len(part), _CHUNK_BYTES
            if at > self._last_byte:
                raise self._grew()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _grew(self) -> ScanError:
        path = os.fspath(self.name)
        return ScanError(
            f"{path!r} grows while it is read; run again when it is whole", path=str(path)
        )


def open_input(path: str) -> io.BufferedReader:
    """Return an input, open for reading its bytes; see `InputFile`."""
    return io.BufferedReader(InputFile(path))


def open_text(path: str, encoding: str) -> io.TextIOWrapper:
    """Return an input, open for reading its text; see `InputFile`."""
    text = io.TextIOWrapper(open_input(path), encoding=encoding)
    text.mode = "r"  # type: ignore[misc]  # as `open` does
    return text


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


def _no_file(path: str) -> ScanError:
    return ScanError(
        f"{path!r} is no ordinary file: a folder, FIFO, socket or device has its name; put the "
        "input back and run again",
        path=path,
    )
