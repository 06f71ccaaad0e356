"""What a scan found: counts in memory, the names of due files on disk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from .remarks import Remarks

_CHUNK_BYTES = 65_536
_BUFFER_BYTES = 1_048_576
_KNOWN, _NEW = b"+", b"-"


class DueFile(NamedTuple):
    """An input to work on."""

    #: Relative to the input folder.
    path: str
    #: Whether the journal has a record of it.
    is_known: bool


class Spool:
    """Due files in a nameless file of `folder`, in the order they were added.

    Paths are kept as the bytes that the file system has, so every name survives.
    """

    def __init__(self, folder: str) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=_BUFFER_BYTES)  # noqa: SIM115

    def add(self, path: str, *, is_known: bool) -> None:
        self._file.write((_KNOWN if is_known else _NEW) + os.fsencode(path) + b"\0")

    def finish(self) -> None:
        """Make what was added readable."""
        self._file.flush()

    def __iter__(self) -> Iterator[DueFile]:
        offset, rest = 0, b""
        while chunk := os.pread(self._file.fileno(), _CHUNK_BYTES, offset):
            offset += len(chunk)
            *entries, rest = (rest + chunk).split(b"\0")
            for entry in entries:
                yield DueFile(os.fsdecode(entry[1:]), entry[:1] == _KNOWN)

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to do in this run. Close it when the run is over."""

    #: Inputs that were found.
    total: int
    #: Those to work on now; `due()` names them.
    due_count: int
    #: Those that `file_count` leaves for a later run.
    later: int
    #: Those that the journal knows as done.
    skipped_done: int
    #: Those whose output was there already, made by someone else.
    skipped_existing: int
    #: Those that were put aside.
    aside: int
    #: FIFOs, devices, sockets and broken links; never opened.
    special: int
    #: What a person should know, one sentence each.
    notes: tuple[str, ...]
    spool: Spool
    #: Of those that are not due; what comes of the others is added to them.
    remarks: Remarks = field(default_factory=Remarks)

    def due(self) -> Iterator[DueFile]:
        """Yield the due files, always in the same order."""
        return iter(self.spool)

    def close(self) -> None:
        """Give the disk space back."""
        self.spool.close()
