"""Where the output of a file of prompts and what belongs to it lies, and whether it is done."""

from __future__ import annotations

import os

from ...core.errors import UsageError
from ...core.records import FileState
from ...journal import FileRecord
from ...journal.schema import FILE_NAME
from .options import PromptsOptions

#: What stands for the file in the journal; its calls are shown under this name.
LINES = "(lines)"


class Paths:
    """Where the output and what belongs to it lies."""

    def __init__(self, options: PromptsOptions) -> None:
        self.output = os.path.realpath(options.output_path)
        #: The output while it is not whole.
        self.partial = f"{self.output}.partial"
        self.errors = f"{self.output.removesuffix('.jsonl')}.errors.jsonl"
        self.state = os.path.abspath(options.state_path or f"{self.output}.state")

    def check(self, input_path: str) -> None:
        """Refuse to write over what is not ours.

        Raises:
            UsageError: the output is the input, a folder, or a file that somebody else wrote.
        """
        if os.path.realpath(input_path) in {self.output, self.errors, self.partial}:
            raise UsageError(f"{input_path!r} would be written over; name another output")
        if os.path.isdir(self.output):
            raise UsageError(f"{self.output!r} is a folder; name a file in it")
        if os.path.exists(os.path.join(self.state, FILE_NAME)):
            return
        for path in (self.output, self.partial, self.errors):
            if os.path.exists(path) and os.path.getsize(path):
                raise UsageError(
                    f"{path!r} is there already and no run has begun there; move it away or name "
                    "another output"
                )


def is_done(record: FileRecord, paths: Paths, options: PromptsOptions, signature: str) -> bool:
    """Tell whether the output is whole and made of this input.

    Raises:
        UsageError: it is whole and was made with other settings, so that all would be asked anew.
    """
    if options.force or record.state is not FileState.DONE:
        return False
    if record.hooks_version != options.version:
        raise UsageError(
            f"{paths.output!r} was made with another model, system message or parameters, so "
            "every line would be asked and paid again; name another output, or give --force "
            "(force=True)"
        )
    return record.input_signature == signature and os.path.exists(paths.output)
