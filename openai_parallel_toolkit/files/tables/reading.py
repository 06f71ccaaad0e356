"""Read a table row by row, in little memory, and say where it is none."""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ...core.errors import UsageError
from ...core.packages import needed
from ..input_file import open_input
from .formats import DELIMITERS
from .writing import Column, Kind

#: Where a row begins (a line, or in Parquet a row, from 1), and its cells.
NumberedRow = tuple[int, Sequence[Any]]
_BOM = b"\xef\xbb\xbf"
#: Characters of a cell; Python's own limit is 131,072, for the whole process.
_LONGEST_CELL = 2**31 - 1
_ROWS_AT_A_TIME = 1_000


class Table(ABC):
    """A table in a file; each `rows` reads it anew."""

    columns: Sequence[Column]
    #: Whether the file begins with a mark that says UTF-8.
    has_mark = False

    def __init__(self, path: str) -> None:
        """Read the names of the columns.

        Raises:
            UsageError: it is no table, or two columns have one name.
        """
        self.path = path
        self.columns = self._read_columns()
        twice = [name for name, times in Counter(self.names).items() if times > 1]
        if twice:
            raise UsageError(f"{path!r}: the column {twice[0]!r} is there twice; rename one")

    @property
    def names(self) -> list[str]:
        """The columns' names."""
        return [column.name for column in self.columns]

    @abstractmethod
    def _read_columns(self) -> Sequence[Column]:
        """Return the columns."""

    @abstractmethod
    def rows(self) -> Iterator[NumberedRow]:
        """Yield the rows; close the iterator when it is not used up.

        Raises:
            UsageError: a row is not of this table.
        """


def open_table(path: str, format: str) -> Table:
    """Return the table in a file; `format` is CSV, TSV or PARQUET.

    Raises:
        UsageError: it is none, or the format needs a package that is not there.
        OSError: it cannot be read.
    """
    return (
        _SeparatedTable(path, DELIMITERS[format]) if format in DELIMITERS else _ParquetTable(path)
    )


class _SeparatedTable(Table):
    def __init__(self, path: str, delimiter: str) -> None:
        self._delimiter = delimiter
        super().__init__(path)

    def _read_columns(self) -> Sequence[Column]:
        with open_input(self.path) as file:
            self.has_mark = file.read(len(_BOM)) == _BOM
        for _, cells in self._records():
            return [Column(name) for name in cells]
        raise UsageError(f"{self.path!r} is empty; its first line is to name the columns")

    def rows(self) -> Iterator[NumberedRow]:
        records = self._records()
        next(records)
        for line, cells in records:
            if len(cells) != len(self.columns):
                raise UsageError(
                    f"{self.path!r}, line {line}: {len(cells)} cells where the first line names "
                    f"{len(self.columns)} columns; a cell with {self._delimiter!r}, a quote or a "
                    "line end in it is to be quoted"
                )
            yield line, cells

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
        with open_input(self.path) as file:
            reader = csv.reader(_texts(file, self.path), delimiter=self._delimiter, strict=True)
            line = 1
            try:
                for cells in reader:
                    if cells:
                        yield line, cells
                    line = reader.line_num + 1
            except csv.Error as exc:
                raise UsageError(f"{self.path!r}, line {line}: this is no table: {exc}") from exc


def _texts(file: Iterable[bytes], path: str) -> Iterator[str]:
    """Yield the lines of a file, without a mark that says UTF-8."""
    for line, raw in enumerate(file, 1):
        try:
            yield raw.decode("utf-8" if line > 1 else "utf-8-sig")
        except UnicodeDecodeError as exc:
            raise UsageError(
                f"{path!r}, line {line}: this is not UTF-8; save the table as CSV in UTF-8"
            ) from exc


class _ParquetTable(Table):
    def _read_columns(self) -> Sequence[Column]:
        with self._opened() as parquet:
            schema = parquet.schema_arrow
            return [Column(one.name, Kind.FOREIGN, one.type) for one in schema]

    def rows(self) -> Iterator[NumberedRow]:
        number = 0
        with self._opened() as parquet:
            for batch in parquet.iter_batches(batch_size=_ROWS_AT_A_TIME):
                columns = [column.to_pylist() for column in batch.columns]
                for cells in zip(*columns, strict=True):
                    number += 1
                    yield number, cells

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        arrow = needed("pyarrow", "Parquet")
        with open_input(self.path) as file:
            try:
                yield needed("pyarrow.parquet", "Parquet").ParquetFile(file)
            except arrow.ArrowException as exc:
                words = str(exc).splitlines()[0]
                raise UsageError(f"{self.path!r} is no Parquet file: {words}") from exc
