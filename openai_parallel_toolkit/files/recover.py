"""Finish, at the start of a run, what the death of an earlier one left between intent and done."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from ..core.errors import UnsafePath
from ..core.filesystem import digest, is_disk_trouble, storage_error
from ..core.records import OutputFile
from .output_commits import Commits, OutputJournal
from .output_tree import OutputTree
from .staging import Staging


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledForward:
    """What became of the intents that were found."""

    #: Inputs that are done now.
    done: tuple[str, ...]
    #: Inputs whose outputs are not whole: they are due again.
    again: tuple[str, ...]


def roll_forward(journal: OutputJournal, staging: Staging, tree: OutputTree) -> RolledForward:
    """Move the outputs that intents list, commit *done*, and sweep the staging folder.

    It may be cut off anywhere and called again.

    Raises:
        StorageError: the disk refuses; nothing was swept.
    """
    commits: Commits[str] = Commits()
    again: list[str] = []
    for file_id, path, outputs in list(journal.intents()):
        if _is_finished(outputs, staging, tree):
            # Which hooks ran, and on which bytes, died with their process.
            commits.start(path, partial(journal.done_file, file_id, "", None))
        else:
            again.append(path)
    done = []
    for path, error in commits.wait():
        if error is not None:
            raise error
        done.append(path)
    staging.sweep()
    return RolledForward(done=tuple(done), again=tuple(again))


def _is_finished(outputs: Sequence[OutputFile], staging: Staging, tree: OutputTree) -> bool:
    """Bring all outputs of one file into place; False when one of them is not whole."""
    try:
        sources = [_whole_copy(output, staging, tree) for output in outputs]
        for output, source in zip(outputs, sources, strict=True):
            if source is None or None in sources:
                return False
            tree.put_again(source, output.final)
    except UnsafePath:
        return False
    except OSError as exc:
        if is_disk_trouble(exc):
            raise storage_error(exc, exc.filename or tree.root) from exc
        return False
    return True


def _whole_copy(output: OutputFile, staging: Staging, tree: OutputTree) -> str | None:
    for path in (staging.path_of(output), tree.path_of(output.final)):
        with suppress(FileNotFoundError, NotADirectoryError):
            if digest(path) == (output.size_bytes, output.sha256):
                return path
    return None
