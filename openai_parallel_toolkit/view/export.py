"""Write what a journal holds as a table: to a file that is whole or absent, or to a stream."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from ..core.errors import UsageError
from ..core.file_kinds import is_folder, raise_unless_mistaken
from ..core.filesystem import atomic_file
from ..files.run_folders import local_root
from ..files.stores import is_remote
from ..files.tables import FORMATS, format_of, write_table
from ..journal import JournalReader
from .export_rows import CALLS, TABLES, export_table
from .place import journal_folder


def export(
    output_path: str,
    path: str,
    *,
    state_path: str | None = None,
    what: str | None = None,
    format: str | None = None,
) -> tuple[int, str]:
    """Write a table to a file, which is whole or absent, and return its rows and what they are.

    Args:
        output_path: of a run, which may be on: nothing is changed or locked there.
        what: one of TABLES; None: as the file is called, otherwise the calls.
        format: one of FORMATS; None: as the file's name ends.

    Raises:
        UsageError: the file cannot be written there, or its format needs a package.
        StorageError: the disk refused.
    """
    state_folder = journal_folder(output_path, state_path)
    stem = os.path.splitext(os.path.basename(path))[0].lower()
    table = export_table(what or (stem if stem in TABLES else CALLS))
    format = format or format_of(path)
    if format is None:
        raise UsageError(
            f"{path!r}: the name does not say what kind of file it is; end it with "
            f"{', '.join(f'.{one}' for one in FORMATS)}, or give --format"
        )
    with JournalReader(state_folder) as journal:
        _check_place(path, local_root(output_path, state_path), state_folder, journal)
        with _new_file(path) as out:
            return write_table(format, table.columns, table.rows(journal), out), table.unit


def export_to(
    out: BinaryIO, output_path: str, *, state_path: str | None, what: str, format: str
) -> tuple[int, str]:
    """Write a table to an open stream, as `export` does to a file."""
    table = export_table(what)
    with JournalReader(journal_folder(output_path, state_path)) as journal:
        return write_table(format, table.columns, table.rows(journal), out), table.unit


def _check_place(path: str, root: str, state_folder: str, journal: JournalReader) -> None:
    """Refuse to write where something else belongs."""
    if is_remote(path):
        raise UsageError(f"{path!r} is a URL; export to a local file, and copy that")
    if is_folder(path):
        raise UsageError(f"{path!r} is a folder; name a file in it")
    real = os.path.realpath(path)
    if real.startswith(os.path.join(os.path.realpath(state_folder), "")):
        raise UsageError(f"{path!r} lies in the state folder; name a file elsewhere")
    below = os.path.relpath(real, os.path.realpath(root))
    if journal.owner_of_output(below.replace(os.sep, "/")) is not None:
        raise UsageError(f"{path!r} is an output of the run; name another file")


@contextmanager
def _new_file(path: str) -> Iterator[BinaryIO]:
    # Named after the process: two that write the same file do not write into each other's.
    part = f"{path}.{os.getpid()}.part"
    try:
        with atomic_file(path, part=part), open(part, "wb") as out:
            yield out
    except OSError as exc:
        raise_unless_mistaken(exc, path)
        raise UsageError(
            f"{path!r}: {exc.strerror}; name a file in a folder that you may write to"
        ) from exc
