"""Remember which files are being worked on, so that a death of the process names its suspects.

What is written outlives the process at once; a power cut may lose it, and then nobody is
suspected. Writing is a store to memory: no system call, no wait.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
from dataclasses import dataclass

from ..core.filesystem import storage_errors
from ..core.own_files import kept_file

#: Per slot; the longest path fits.
_RECORD_BYTES = 8_192
#: In use, inside a call, alone, bytes of the path.
_HEADER = struct.Struct("<???xI")
_IN_CALL_AT = 1
#: Slots are mapped this many at a time.
_BLOCK_SLOTS = 64
_BLOCK_BYTES = _BLOCK_SLOTS * _RECORD_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class InProgressFile:
    """An input whose hooks were running when the process died."""

    path: str
    #: Whether the hook was waiting for an answer, when it cannot have been the killer.
    in_call: bool
    #: Whether nothing else ran.
    alone: bool


class InProgressFiles:
    """The register of inputs whose hooks are running, kept in a file that is mapped into memory.

    One lock guards the list of mapped blocks; within a block each slot has one writer.
    """

    def __init__(self, path: str) -> None:
        """Open the register, with what an earlier process may have left in it."""
        self._path = path
        self._fd = kept_file(path)
        self._lock = threading.Lock()
        self._blocks: list[mmap.mmap] = []

    def enter(self, slot: int, path: str, *, alone: bool = False) -> None:
        """Note that worker `slot` starts on an input (relative path)."""
        name = os.fsencode(path)
        block, at = self._place_of(slot)
        block[at : at + _HEADER.size + len(name)] = (
            _HEADER.pack(True, False, alone, len(name)) + name
        )

    def in_call(self, slot: int, inside: bool) -> None:
        """Note whether the hook of `slot` is waiting inside a call of the toolkit."""
        block, at = self._place_of(slot)
        block[at + _IN_CALL_AT] = inside

    def leave(self, slot: int) -> None:
        """Note that worker `slot` is done with its input."""
        block, at = self._place_of(slot)
        block[at] = False

    def read_back(self) -> list[InProgressFile]:
        """Return the inputs that were never left, in the order of their slots."""
        found = []
        for offset in range(0, os.fstat(self._fd).st_size, _RECORD_BYTES):
            record = os.pread(self._fd, _RECORD_BYTES, offset)
            if len(record) < _HEADER.size:
                break
            used, in_call, alone, length = _HEADER.unpack_from(record)
            name = record[_HEADER.size : _HEADER.size + length]
            if used and len(name) == length:
                found.append(InProgressFile(path=os.fsdecode(name), in_call=in_call, alone=alone))
        return found

    def clear(self) -> None:
        """Forget everything; not while a worker is under way."""
        self._unmap()
        os.ftruncate(self._fd, 0)

    def close(self) -> None:
        self._unmap()
        os.close(self._fd)
        self._fd = -1  # the number may soon be another file's

    def _place_of(self, slot: int) -> tuple[mmap.mmap, int]:
        number, place = divmod(slot, _BLOCK_SLOTS)
        if number >= len(self._blocks):
            self._map(number)
        return self._blocks[number], place * _RECORD_BYTES

    def _map(self, number: int) -> None:
        with self._lock:
            while number >= len(self._blocks):
                offset = len(self._blocks) * _BLOCK_BYTES
                self._take_room(offset + _BLOCK_BYTES)
                self._blocks.append(mmap.mmap(self._fd, _BLOCK_BYTES, offset=offset))

    def _take_room(self, size_bytes: int) -> None:
        """Have real blocks under the mapping: a store that finds no room kills the process."""
        with storage_errors(self._path):
            while (at := os.fstat(self._fd).st_size) < size_bytes:
                os.pwrite(self._fd, bytes(size_bytes - at), at)

    def _unmap(self) -> None:
        with self._lock:
            while self._blocks:
                self._blocks.pop().close()
