"""Remember which files are being worked on, so that a death of the process names its suspects.

What is written outlives the process at once; a power cut may lose it, and then nobody is
suspected. Each worker has a slot of its own, so no lock is needed.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

#: Per slot; the longest path fits, and slots that are not used take no room.
_RECORD_BYTES = 8_192
#: In use, inside a call, alone, bytes of the path.
_HEADER = struct.Struct("<???xI")
_IN_CALL_AT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFile:
    """An input whose hooks were running when the process died."""

    path: str
    #: Whether the hook was waiting for an answer, when it cannot have been the killer.
    in_call: bool
    #: Whether nothing else ran.
    alone: bool


class OpenFiles:
    """The register of inputs whose hooks are running, kept in a file."""

    def __init__(self, path: str) -> None:
        """Open the register, with what an earlier process may have left in it."""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def enter(self, slot: int, path: str, *, alone: bool = False) -> None:
        """Note that worker `slot` starts on an input (relative path)."""
        name = os.fsencode(path)
        header = _HEADER.pack(True, False, alone, len(name))
        os.pwrite(self._fd, header + name, slot * _RECORD_BYTES)

    def in_call(self, slot: int, inside: bool) -> None:
        """Note whether the hook of `slot` is waiting inside a call of the toolkit."""
        os.pwrite(self._fd, b"\1" if inside else b"\0", slot * _RECORD_BYTES + _IN_CALL_AT)

    def leave(self, slot: int) -> None:
        """Note that worker `slot` is done with its input."""
        os.pwrite(self._fd, b"\0", slot * _RECORD_BYTES)

    def read_back(self) -> list[OpenFile]:
        """Return the inputs that were never left, in the order of their slots."""
        size = os.fstat(self._fd).st_size
        records = (self._read(offset) for offset in range(0, size, _RECORD_BYTES))
        return [record for record in records if record is not None]

    def clear(self) -> None:
        """Forget everything."""
        os.ftruncate(self._fd, 0)

    def close(self) -> None:
        os.close(self._fd)

    def _read(self, offset: int) -> OpenFile | None:
        record = os.pread(self._fd, _RECORD_BYTES, offset)
        if len(record) < _HEADER.size:
            return None
        used, in_call, alone, length = _HEADER.unpack_from(record)
        name = record[_HEADER.size : _HEADER.size + length]
        if not used or len(name) < length:
            return None
        return OpenFile(path=os.fsdecode(name), in_call=in_call, alone=alone)
