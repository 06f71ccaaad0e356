"""Write rows as a table, in little memory, whatever its format."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, BinaryIO

from ...core.packages import needed
from .formats import DELIMITERS, JSONL, PARQUET

Row = Sequence[Any]
#: Rows, and characters of texts in them, that are written together.
_MOST_ROWS, _MOST_CHARACTERS = 10_000, 4 * 1024 * 1024
#: What steers a terminal, tabs and line feeds left out.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_QUOTED = re.compile('[",;\t\r\n]|^ | $')


class Kind(str, Enum):
    """What a column holds; None may stand in each."""

    TEXT = "text"
    WHOLE = "whole"
    NUMBER = "number"
    #: Seconds since 1970-01-01 UTC.
    MOMENT = "moment"
    #: Texts, as many as there are.
    TEXTS = "texts"
    #: Whatever the table that it comes from holds.
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    kind: Kind = Kind.TEXT
    #: pyarrow's type of a FOREIGN one.
    type: Any = None


class TableWriter(ABC):
    """Writes the rows of one table to an open file."""

    @abstractmethod
    def __init__(self, columns: Sequence[Column], out: BinaryIO) -> None:
        """Begin the table."""

    @abstractmethod
    def write(self, rows: Sequence[Row]) -> None:
        """Append rows, their cells in the order of the columns."""

    def close(self) -> None:  # noqa: B027 - most have nothing to add
        """Write what ends the table; the file stays open."""


def write_table(
    format: str,
    columns: Sequence[Column],
    rows: Iterable[Row],
    out: BinaryIO,
    *,
    is_exact: bool = False,
) -> int:
    """Write a whole table to an open file and return how many rows it has.

    Args:
        is_exact: keep in CSV and TSV what could steer a terminal, instead of writing it out. In
            JSON lines it is escaped, and Parquet holds everything as it is.

    Raises:
        UsageError: the format needs a package that is not there.
    """
    if format in DELIMITERS:
        writer: TableWriter = _Separated(columns, out, DELIMITERS[format], is_exact=is_exact)
    else:
        writer = {JSONL: JsonLines, PARQUET: _ParquetWriter}[format](columns, out)
    count = 0
    for chunk in in_chunks(rows, columns):
        writer.write(chunk)
        count += len(chunk)
    writer.close()
    return count


def in_chunks(rows: Iterable[Row], columns: Sequence[Column]) -> Iterator[list[Row]]:
    """Yield rows in lists that are neither long nor large."""
    texts = [at for at, column in enumerate(columns) if column.kind is Kind.TEXT]
    chunk: list[Row] = []
    characters = 0
    for row in rows:
        chunk.append(row)
        characters += sum(len(row[at] or "") for at in texts)
        if len(chunk) == _MOST_ROWS or characters > _MOST_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _iso(wall_s: float) -> str:
    return datetime.fromtimestamp(wall_s, timezone.utc).isoformat(timespec="milliseconds")


class JsonLines(TableWriter):
    """An object a line; what could steer a terminal is escaped, and nothing is lost."""

    def __init__(self, columns: Sequence[Column], out: BinaryIO) -> None:
        self._names = [column.name for column in columns]
        self._moments = [at for at, one in enumerate(columns) if one.kind is Kind.MOMENT]
        self._out = out

    def write(self, rows: Sequence[Row]) -> None:
        self._out.write("".join(map(self._line, rows)).encode())

    def _line(self, row: Row) -> str:
        told = dict(zip(self._names, row, strict=True))
        for at in self._moments:
            told[self._names[at]] = None if row[at] is None else _iso(row[at])
        text = json.dumps(told, ensure_ascii=False, default=str)
        if not text.isprintable():
            text = _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
        return f"{text if is_utf8(text) else json.dumps(told, default=str)}\n"


def is_utf8(text: str) -> bool:
    """Whether a text is whole: half a character cannot be written."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class _Separated(TableWriter):
    """CSV or TSV, as RFC 4180 has it but for line feeds alone; what is None is empty."""

    def __init__(
        self, columns: Sequence[Column], out: BinaryIO, delimiter: str, *, is_exact: bool
    ) -> None:
        self._delimiter, self._out, self._is_exact = delimiter, out, is_exact
        self._tellers = [_TELLERS.get(column.kind, str) for column in columns]
        self._put([self._line([column.name for column in columns])])

    def write(self, rows: Sequence[Row]) -> None:
        tellers = self._tellers
        self._put(
            self._line(
                [
                    "" if cell is None else tell(cell)
                    for tell, cell in zip(tellers, row, strict=True)
                ]
            )
            for row in rows
        )

    def _put(self, lines: Iterable[str]) -> None:
        self._out.write("".join(lines).encode("utf-8", "backslashreplace"))

    def _line(self, cells: Sequence[str]) -> str:
        told = map(self._cell, cells) if len(cells) > 1 or cells[0] else ['""']
        return f"{self._delimiter.join(told)}\n"

    def _cell(self, text: str) -> str:
        if not (self._is_exact or text.isprintable()):
            text = _STEERING.sub(lambda found: repr(found[0])[1:-1], text)
        if not _QUOTED.search(text):
            return text
        doubled = text.replace('"', '""')
        return f'"{doubled}"'


#: How cells are told that are no texts.
_TELLERS: dict[Kind, Callable[[Any], str]] = {
    Kind.MOMENT: _iso,
    Kind.NUMBER: lambda number: format(Decimal(repr(number)), "f"),
    Kind.TEXTS: lambda texts: json.dumps(texts, ensure_ascii=False),
}


class _ParquetWriter(TableWriter):
    def __init__(self, columns: Sequence[Column], out: BinaryIO) -> None:
        self._columns = columns
        self._schema = arrow_schema(columns, "Parquet")
        writer = needed("pyarrow.parquet", "Parquet").ParquetWriter
        self._writer = writer(out, self._schema, compression="zstd")

    def write(self, rows: Sequence[Row]) -> None:
        self._writer.write_batch(arrow_batch(rows, self._columns, self._schema))

    def close(self) -> None:
        self._writer.close()


def arrow_schema(columns: Sequence[Column], what: str) -> Any:
    """Return columns as pyarrow has them; `what` is what needs it."""
    arrow = needed("pyarrow", what)
    types = {
        Kind.TEXT: arrow.string(),
        Kind.WHOLE: arrow.int64(),
        Kind.NUMBER: arrow.float64(),
        Kind.MOMENT: arrow.timestamp("us", tz="UTC"),
        Kind.TEXTS: arrow.list_(arrow.string()),
    }
    return arrow.schema([(one.name, types.get(one.kind, one.type)) for one in columns])


def arrow_batch(rows: Sequence[Row], columns: Sequence[Column], schema: Any) -> Any:
    """Return rows as a batch of pyarrow's."""
    arrow = needed("pyarrow", "Parquet")
    made = [
        arrow.array(_as_arrow(column.kind, cells), type=field.type)
        for column, cells, field in zip(columns, zip(*rows, strict=True), schema, strict=True)
    ]
    return arrow.record_batch(made, schema=schema)


def _as_arrow(kind: Kind, cells: Sequence[Any]) -> Sequence[Any]:
    if kind is Kind.MOMENT:
        return [None if cell is None else round(cell * 1_000_000) for cell in cells]
    if kind is Kind.TEXT:
        return [cell if cell is None or is_utf8(cell) else _escaped(cell) for cell in cells]
    if kind is Kind.TEXTS:
        return [[one if is_utf8(one) else _escaped(one) for one in cell] for cell in cells]
    return cells


def _escaped(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
