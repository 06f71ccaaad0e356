"""The rows of an input with their answers beside them, as a table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from ...calls.responses import CUT_ENDINGS
from ...core.errors import UsageError
from ...files.tables import CSV, TSV, Column, write_table
from .files import PromptsFile

#: The states of an answer.
ANSWERED, CUT, FAILED = "answered", "cut", "failed"
_BOM = b"\xef\xbb\xbf"


def answer_columns(source: PromptsFile, name: str) -> list[Column]:
    """Return the columns of an output: those of the input, and those of its answers.

    Args:
        name: of the column with the answers.

    Raises:
        UsageError: the input has such a column.
    """
    added = (name, f"{name}_state", f"{name}_error")
    taken = [one for one in added if one in {column.name for column in source.columns}]
    if taken:
        raise UsageError(
            f"{source.path!r} has a column {taken[0]!r} already; name another for the answers with "
            "--answer-column"
        )
    return [*source.columns, *map(Column, added)]


def write_answers(source: PromptsFile, lines: str, name: str, part: str, format: str) -> None:
    """Write the table to a new file.

    Args:
        lines: the answers as flat JSON lines, in the order of the rows.
    """
    columns = answer_columns(source, name)
    with open(lines, "rb") as answers, open(part, "wb") as out:
        if source.has_mark and format in (CSV, TSV):
            out.write(_BOM)
        write_table(format, columns, _rows(source, answers), out, is_exact=True)


def _rows(source: PromptsFile, answers: Iterator[bytes]) -> Iterator[Sequence[Any]]:
    for (_, cells), answer in zip(source.rows(), answers, strict=True):
        yield (*cells, *_answer(json.loads(answer)))


def _answer(told: dict[str, Any]) -> tuple[str, str, str]:
    """Return the answer, its state and what went wrong."""
    error = told.get("error")
    if error is not None:
        return "", FAILED, f"{error['kind']}: {error['message']}"
    held = next((told[name] for name in ("embedding", "tool_calls") if told.get(name)), None)
    text = told.get("content") or ("" if held is None else json.dumps(held, ensure_ascii=False))
    is_cut = str(told.get("finish_reason")).lower() in CUT_ENDINGS
    return text, CUT if is_cut else ANSWERED, ""
