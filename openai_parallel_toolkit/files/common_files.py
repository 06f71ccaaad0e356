"""Write the files that many inputs add lines to: whole, each line once, in the inputs' order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol

from ..core.errors import OutputConflict
from ..core.filesystem import new_file
from .output_tree import OutputTree
from .staging import Staging

#: Owns them among the outputs; inputs have higher ids.
OWNER = 0


class AppendedLines(Protocol):
    """The part of the journal that knows of such lines."""

    def appended_names(self) -> list[str]:
        """Return the names of the files that lines were added to."""

    def appended_lines(self, name: str) -> Iterator[bytes]:
        """Yield what the finished inputs added to one file, in the order of their paths."""

    def owner_of_output(self, final: str) -> int | None:
        """Return the id of the file whose intents listed this output; None: nobody's."""

    def own_output(self, final: str, owner: int) -> None:
        """Note whose an output is; durable on return."""


def write_common_files(
    journal: AppendedLines, staging: Staging, tree: OutputTree, *, force: bool
) -> None:
    """Write all of them anew, from what the journal holds.

    Raises:
        OutputConflict: something else has the name of one; not replaced unless `force`.
        OSError: the disk refused.
    """
    for number, name in enumerate(journal.appended_names()):
        owner = journal.owner_of_output(name)
        is_foreign = owner is None and tree.holds(name) and not force
        if owner not in (None, OWNER) or is_foreign:
            raise OutputConflict(
                f"append_line({name!r}, ...): an output of that name is there that it did not "
                "make; move it away or give another name, then run again: the lines are kept.",
                path=name,
            )
        source = os.path.join(staging.root, f"common-{number}")
        with open(source, "wb", opener=new_file) as file:
            file.writelines(journal.appended_lines(name))
        if owner is None:
            journal.own_output(name, OWNER)
        tree.put_again(source, name)
        with suppress(FileNotFoundError):
            os.unlink(source)
