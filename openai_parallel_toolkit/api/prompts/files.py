"""The input and the output of a run over a file of prompts, and what belongs to them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import zip_longest
from typing import Any

from ...core.errors import ScanError, UsageError
from ...core.file_kinds import exists, is_folder, raise_unless_mistaken
from ...core.records import FileState
from ...files.input_file import open_input
from ...files.tables import JSONL, Column, Kind, NumberedRow, Table, format_of, open_table
from ...journal import FileRecord
from ...journal.schema import FILE_NAME
from .lines import Defaults, PromptLine, is_blank, read_line, read_prompt
from .options import PromptsOptions
from .results import is_answer_to
from .template import Template

#: What stands for the file in the journal; its calls are shown under this name.
LINES = "(lines)"
#: The column of a table that is asked where no template is given.
_PROMPT = "prompt"
#: What a table tells of lines.
_OF_LINES = (Column("line", Kind.WHOLE), Column("prompt"))


class PromptsFile:
    """A file of prompts, one a line.

    Raises:
        UsageError: it cannot be read.
        StorageError: the disk refuses.
    """

    def __init__(self, path: str, defaults: Defaults) -> None:
        self.path = path
        self._defaults = defaults
        format = format_of(path)
        self._table: Table | None = None
        try:
            open_input(path).close()
            if format not in (None, JSONL):
                self._table = open_table(path, format)
        except OSError as exc:
            raise_unless_mistaken(exc, path)
            raise UsageError(f"{path!r}: {exc.strerror}; name a file of prompts") from exc
        except ScanError as exc:
            raise UsageError(
                f"{path!r} is no ordinary file; write the prompts to one first"
            ) from exc

        text = defaults.template
        if self._table is None:
            if text is not None:
                raise UsageError(
                    f"{path!r} is no table, so there are no columns for --prompt; name a file that "
                    "ends in .csv, .tsv or .parquet"
                )
            return
        if text is None and _PROMPT not in self._table.names:
            raise UsageError(
                f"{path!r} has no column {_PROMPT!r}; say with --prompt what is asked, such as "
                f"--prompt '{{{self._table.names[0]}}}'"
            )
        text = f"{{{_PROMPT}}}" if text is None else text
        self._template = Template(text, self._table.names, path)

    @property
    def is_table(self) -> bool:
        """Whether it has columns."""
        return self._table is not None

    @property
    def columns(self) -> Sequence[Column]:
        """Those of a table; of lines, their numbers and what stands there."""
        return _OF_LINES if self._table is None else self._table.columns

    @property
    def has_mark(self) -> bool:
        """Whether it is a table that begins with a mark that says UTF-8."""
        return self._table is not None and self._table.has_mark

    def count(self) -> int:
        """Return how many lines are not blank.

        Raises:
            UsageError: a row is not of the table.
        """
        return sum(1 for _ in self.rows())

    def lines(self) -> PromptLines:
        """Return the lines that are not blank; close the iterator when it is not used up."""
        if self._table is None:
            return PromptLines(self._numbered(), self._read_line, is_blank)
        return PromptLines(self._table.rows(), self._read_row, lambda *_: False)

    def rows(self) -> Iterator[NumberedRow]:
        """Yield what `columns` holds of each line that is not blank."""
        if self._table is not None:
            yield from self._table.rows()
            return
        for number, raw in self._numbered():
            if not is_blank(number, raw):
                yield number, (number, raw.decode("utf-8-sig", "replace").strip())

    def _numbered(self) -> Iterator[tuple[int, bytes]]:
        with open_input(self.path) as file:
            yield from enumerate(file, 1)

    def _read_line(self, number: int, raw: bytes) -> PromptLine | None:
        return read_line(number, raw, self._defaults)

    def _read_row(self, number: int, cells: Sequence[Any]) -> PromptLine:
        return read_prompt(number, self._template.filled(cells), self._defaults)

    def signature(self) -> str:
        """Return what tells whether the file was changed."""
        seen = os.stat(self.path)
        return f"{seen.st_size}:{seen.st_mtime_ns}"


class PromptLines(Iterator[PromptLine]):
    """The lines of an input that are not blank."""

    def __init__(
        self,
        numbered: Iterator[tuple[int, Any]],
        read: Callable[[int, Any], PromptLine | None],
        is_blank: Callable[[int, Any], bool],
    ) -> None:
        self._numbered, self._read, self._is_blank = numbered, read, is_blank

    def __next__(self) -> PromptLine:
        """Return what the next line asks for."""
        for number, raw in self._numbered:
            line = self._read(number, raw)
            if line is not None:
                return line
        raise StopIteration

    def skip(self) -> bool:
        """Pass over the next line without looking what it asks for; False: there is none."""
        return any(not self._is_blank(number, raw) for number, raw in self._numbered)

    def close(self) -> None:
        """Close the file."""
        self._numbered.close()  # type: ignore[attr-defined] # they are generators


class Paths:
    """Where the output and what belongs to it lies."""

    def __init__(self, options: PromptsOptions) -> None:
        self._options = options
        self.output = os.path.realpath(options.output_path)
        #: The output while it is not whole.
        self.partial = f"{self.output}.partial"
        #: What kind of table the output is; None: lines.
        self.table_format = self._table_format()
        named = self.output.removesuffix(f".{self.table_format or JSONL}")
        self.errors = f"{named}.errors.jsonl"
        self.state = os.path.abspath(options.state_path or f"{self.output}.state")

    def _table_format(self) -> str | None:
        """Return what kind of table the output is; None: lines, as the input."""
        format, of_input = format_of(self.output), format_of(self._options.input_path)
        is_table = format not in (None, JSONL) or of_input not in (None, JSONL)
        if is_table and format is None:
            raise UsageError(
                f"{self.output!r}: end the name with .csv, .tsv, .parquet or .jsonl, for a table"
            )
        if is_table and self._options.output_format != "flat":
            raise UsageError("--output-format is for lines of JSON; a table has columns instead")
        return format if is_table else None

    def holds_answers(self, source: PromptsFile, known_until_s: float) -> bool:
        """Whether the output has an answer to each line of the input, made after a wall time.

        That is so when the journal was lost or is an old copy.
        """
        try:
            made_s = os.stat(self.output).st_ctime
            is_new = made_s > max(known_until_s, os.stat(source.path).st_mtime)
            return is_new and self._is_whole(source)
        except (OSError, ValueError):
            return False

    def _is_whole(self, source: PromptsFile) -> bool:
        if self.table_format is not None:
            return False
        format = self._options.output_format
        with open(self.output, "rb") as output, closing(source.lines()) as lines:
            pairs = zip_longest(lines, output)
            return all(
                line is not None and raw is not None and is_answer_to(format, line, json.loads(raw))
                for line, raw in pairs
            )

    def check(self, source: PromptsFile) -> None:
        """Refuse to write over what is not ours.

        Raises:
            UsageError: the output is the input, a folder, or a file that somebody else wrote.
        """
        input_path = self._options.input_path
        if os.path.realpath(input_path) in {self.output, self.errors, self.partial}:
            raise UsageError(f"{input_path!r} would be written over; name another output")
        if is_folder(self.output):
            raise UsageError(f"{self.output!r} is a folder; name a file in it")
        if exists(os.path.join(self.state, FILE_NAME)):
            return
        if not self._options.force and self.holds_answers(source, 0.0):
            return
        for path in (self.output, self.partial, self.errors):
            if exists(path) and os.path.getsize(path):
                raise UsageError(
                    f"{path!r} is there already and no run has begun there; move it away or name "
                    "another output"
                )

    def is_done(self, record: FileRecord, signature: str) -> bool:
        """Tell whether the output is whole and made of this input.

        Raises:
            UsageError: it was made with other settings, so that all would be asked anew.
        """
        if self._options.force or record.state is not FileState.DONE:
            return False
        if record.hooks_version != self._options.version:
            raise UsageError(
                f"{self.output!r} was made with another model, system message or parameters, so "
                "every line would be asked and paid again; name another output, or give --force "
                "(force=True)"
            )
        return record.input_signature == signature and exists(self.output)
