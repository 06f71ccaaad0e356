"""The input and the output of a run over a file of prompts, and what belongs to them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from itertools import zip_longest
from typing import BinaryIO

from ...core.errors import ScanError, UsageError
from ...core.file_kinds import exists, is_folder, raise_unless_mistaken
from ...core.records import FileState
from ...files.input_file import open_input
from ...journal import FileRecord
from ...journal.schema import FILE_NAME
from .lines import Defaults, PromptLine, is_blank, read_line
from .options import PromptsOptions
from .results import is_answer_to

#: What stands for the file in the journal; its calls are shown under this name.
LINES = "(lines)"


class PromptsFile:
    """A file of prompts, one a line.

    Raises:
        UsageError: it cannot be read.
        StorageError: the disk refuses.
    """

    def __init__(self, path: str, defaults: Defaults) -> None:
        self.path = path
        self._defaults = defaults
        try:
            open_input(path).close()
        except OSError as exc:
            raise_unless_mistaken(exc, path)
            raise UsageError(f"{path!r}: {exc.strerror}; name a file of prompts") from exc
        except ScanError as exc:
            raise UsageError(
                f"{path!r} is no ordinary file; write the prompts to one first"
            ) from exc

    def count(self) -> int:
        """Return how many lines are not blank."""
        with open_input(self.path) as file:
            return sum(1 for raw in file if raw.strip())

    def lines(self) -> PromptLines:
        """Return the lines that are not blank; close the iterator when it is not used up."""
        return PromptLines(open_input(self.path), self._defaults)

    def signature(self) -> str:
        """Return what tells whether the file was changed."""
        seen = os.stat(self.path)
        return f"{seen.st_size}:{seen.st_mtime_ns}"


class PromptLines(Iterator[PromptLine]):
    """The lines of an open file that are not blank."""

    def __init__(self, file: BinaryIO, defaults: Defaults) -> None:
        self._file = file
        self._defaults = defaults
        self._numbered = enumerate(file, 1)

    def __next__(self) -> PromptLine:
        """Return what the next line asks for."""
        for number, raw in self._numbered:
            line = read_line(number, raw, self._defaults)
            if line is not None:
                return line
        raise StopIteration

    def skip(self) -> bool:
        """Pass over the next line without looking what it asks for; False: there is none."""
        return any(not is_blank(number, raw) for number, raw in self._numbered)

    def close(self) -> None:
        self._file.close()


class Paths:
    """Where the output and what belongs to it lies."""

    def __init__(self, options: PromptsOptions) -> None:
        self._options = options
        self.output = os.path.realpath(options.output_path)
        #: The output while it is not whole.
        self.partial = f"{self.output}.partial"
        self.errors = f"{self.output.removesuffix('.jsonl')}.errors.jsonl"
        self.state = os.path.abspath(options.state_path or f"{self.output}.state")

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
