"""Finish, at the start of a run, what the death of an earlier one left between intent and done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ..core.errors import UnsafePath
from ..core.filesystem import digest, is_disk_trouble, storage_error
from ..core.records import OutputFile
from .output_commits import Commits, Journal
from .output_tree import OutputTree
from .staging import Staging


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledForward:
    """What became of the intents that were found."""

    #: Inputs that are done now.
    done: tuple[str, ...]
    #: Inputs whose outputs are not whole: they are due again.
    again: tuple[str, ...]


def roll_forward(journal: Journal, staging: Staging, tree: OutputTree) -> RolledForward:
    """Move the outputs that intents list, commit *done*, and sweep the staging folder.

    It may be cut off anywhere and called again.

    Raises:
        StorageError: the disk refuses; nothing was swept.
    """
    mover = _Mover(staging, tree)
    commits: Commits[str] = Commits()
    again: list[str] = []
    for file_id, path, outputs in list(journal.intents()):
        if mover.finish(outputs):
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


class _Mover:
    def __init__(self, staging: Staging, tree: OutputTree) -> None:
        self._staging = staging
        self._tree = tree

    def finish(self, outputs: Sequence[OutputFile]) -> bool:
        """Bring all outputs of one file into place; False when one of them is not whole."""
        try:
            sources = [self._whole_copy(output) for output in outputs]
            if None in sources:
                return False
            for output, source in zip(outputs, sources):  # noqa: B905
                assert source is not None
                self._tree.take_again(source, output.final)
        except UnsafePath:
            return False
        except OSError as exc:
            if is_disk_trouble(exc):
                raise storage_error(exc, exc.filename or self._tree.root) from exc
            return False
        return True

    def _whole_copy(self, output: OutputFile) -> str | None:
        for path in (self._staging.path_of(output), self._tree.path_of(output.final)):
            try:
                if digest(path) == (output.size_bytes, output.sha256):
                    return path
            except (FileNotFoundError, NotADirectoryError):
                continue
        return None
