"""Tables in files: CSV, TSV, Parquet and JSON lines, row by row in either direction."""

from .formats import CSV, FORMATS, JSONL, PARQUET, TSV, format_of
from .reading import NumberedRow, Table, open_table
from .writing import Column, Kind, write_table

__all__ = [
    "CSV",
    "FORMATS",
    "JSONL",
    "PARQUET",
    "TSV",
    "Column",
    "Kind",
    "NumberedRow",
    "Table",
    "format_of",
    "open_table",
    "write_table",
]
