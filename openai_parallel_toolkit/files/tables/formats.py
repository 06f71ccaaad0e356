"""Which kind of table a file is, by its name's ending."""

from __future__ import annotations

import os

CSV, TSV, PARQUET, JSONL = "csv", "tsv", "parquet", "jsonl"
FORMATS = (JSONL, CSV, TSV, PARQUET)
#: What separates the cells of a line.
DELIMITERS = {CSV: ",", TSV: "\t"}


def format_of(path: str) -> str | None:
    """Return the format that a file's name tells; None: it tells none of these."""
    ending = os.path.splitext(path)[1][1:].lower()
    return ending if ending in FORMATS else None
