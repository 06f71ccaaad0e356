"""Write the files that many inputs add lines to: whole, each line once, in the inputs' order."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol

from ..core.errors import OutputConflict
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

    def kept_lines(self, name: str) -> bytes:
        """Return lines of a common file that are of files which count as done."""

    def keep_lines(self, name: str, lines: bytes) -> None:
        """Note them."""

    def has_found(self) -> bool:
        """Return whether files ever counted as done by outputs that no known run had made."""

    def owner_of_output(self, final: str) -> int | None:
        """Return the id of the file whose intents listed this output; None: nobody's."""

    def own_output(self, final: str, owner: int) -> None:
        """Note whose an output is; durable on return."""


def write_common_files(
    journal: AppendedLines,
    staging: Staging,
    tree: OutputTree,
    *,
    force: bool,
    is_old_copy: bool = False,
) -> None:
    """Write all of them anew, from what the journal holds.

    Args:
        is_old_copy: whether the journal has just learned of files that are done; lines of theirs
            that it does not know are taken over from what is there.

    Raises:
        OutputConflict: something else has the name of one; not replaced unless `force`.
        OSError: the disk refused.
    """
    for number, name in enumerate(journal.appended_names()):
        owner = journal.owner_of_output(name)
        is_foreign = owner is None and tree.holds(name) and not force
        takes_over = is_foreign and journal.has_found()
        if owner not in (None, OWNER) or (is_foreign and not takes_over):
            raise OutputConflict(
                f"append_line({name!r}, ...): an output of that name is there that it did not "
                "make; move it away or give another name, then run again: the lines are kept.",
                path=name,
            )
        if takes_over or is_old_copy:
            journal.keep_lines(name, b"".join(_unknown_lines(journal, staging, tree, name)))
        source = os.path.join(staging.root, f"common-{number}")
        with open(source, "wb") as file:
            file.write(journal.kept_lines(name))
            file.writelines(journal.appended_lines(name))
        if owner is None:
            journal.own_output(name, OWNER)
        tree.put_again(source, name)
        with suppress(FileNotFoundError):
            os.unlink(source)


def _unknown_lines(
    journal: AppendedLines, staging: Staging, tree: OutputTree, name: str
) -> Iterator[bytes]:
    """Yield the lines of a common file that no input which the journal knows has added."""
    with tempfile.TemporaryFile(dir=staging.root) as ours:
        ours.writelines(journal.appended_lines(name))
        ours.seek(0)
        known = {hash(line) for line in ours}
    with suppress(FileNotFoundError), open(tree.path_of(name), "rb") as there:
        yield from (line for line in there if hash(line) not in known)
