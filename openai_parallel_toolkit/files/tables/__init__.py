"""Tables in files: CSV, TSV, Parquet and JSON lines, row by row in either direction."""

from .formats import CSV, FORMATS, JSONL, PARQUET, TSV, format_of
from .writing import Column, Kind, write_table

__all__ = [
    "CSV",
    "FORMATS",
    "JSONL",
    "PARQUET",
    "TSV",
    "Column",
    "Kind",
    "format_of",
    "write_table",
]
