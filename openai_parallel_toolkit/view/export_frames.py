"""What a journal holds as tables in memory: for pandas and for Hugging Face's datasets."""

from __future__ import annotations

import os
from typing import Any

from ..core.packages import needed
from ..files.tables.writing import arrow_batch, arrow_schema, in_chunks
from ..journal import JournalReader
from .export_rows import CALLS, FILES, export_table
from .place import journal_folder

Path = str | os.PathLike[str]


def calls_df(output_path: Path, *, state_path: Path | None = None) -> Any:
    """Return a pandas DataFrame with a row for each call of an output folder.

    docs/how-to/export.md names its columns. The run may be on: nothing is changed or locked.

    Args:
        output_path: the output folder, or its URL; or the output of `prompts`.
        state_path: what the run was given, if anything.

    Raises:
        UsageError: no run has begun there, or pandas or pyarrow is not installed.
        JournalError: the journal is damaged.
    """
    return _frame("calls_df", CALLS, output_path, state_path)


def files_df(output_path: Path, *, state_path: Path | None = None) -> Any:
    """Return a pandas DataFrame with a row for each file of an output folder; see `calls_df`."""
    return _frame("files_df", FILES, output_path, state_path)


def to_dataset(output_path: Path, what: str = CALLS, *, state_path: Path | None = None) -> Any:
    """Return a `datasets.Dataset` (Hugging Face) with a row for each call of an output folder.

    Args:
        output_path: the output folder, or its URL; or the output of `prompts`.
        what: "calls", "files" or "failures".
        state_path: what the run was given, if anything.

    Raises:
        UsageError: no run has begun there, or datasets or pyarrow is not installed.
        JournalError: the journal is damaged.
    """
    datasets = needed("datasets", "to_dataset")
    made = _arrow_table("to_dataset", what, output_path, state_path)
    return datasets.Dataset(needed("datasets.table", "to_dataset").InMemoryTable(made))


def _frame(asker: str, what: str, output_path: Path, state_path: Path | None) -> Any:
    needed("pandas", asker)
    return _arrow_table(asker, what, output_path, state_path).to_pandas()


def _arrow_table(asker: str, what: str, output_path: Path, state_path: Path | None) -> Any:
    table = export_table(what)
    schema = arrow_schema(table.columns, asker)
    state = None if state_path is None else os.fspath(state_path)
    with JournalReader(journal_folder(os.fspath(output_path), state)) as journal:
        batches = [
            arrow_batch(rows, table.columns, schema)
            for rows in in_chunks(table.rows(journal), table.columns)
        ]
    return needed("pyarrow", asker).Table.from_batches(batches, schema=schema)
