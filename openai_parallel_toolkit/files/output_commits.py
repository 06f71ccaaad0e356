"""What publishing asks of the journal, and how it waits for the journal's own thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from ..core.records import OutputFile

#: Told once, after the commit: None, or why it failed.
Done = Callable[[BaseException | None], None]
_Item = TypeVar("_Item")


class OutputJournal(Protocol):
    """The part of the journal that knows of outputs.

    Outputs that an intent listed belong to its file for good, also when the file fails later.
    """

    def owner_of_output(self, final: str) -> int | None:
        """Return the id of the file whose intents listed this output; None: nobody's."""

    def intent(
        self,
        file_id: int,
        outputs: Sequence[OutputFile],
        done: Done,
        lines: Sequence[tuple[str, str]] | None = None,
    ) -> None:
        """Note that the file's outputs, none perhaps, are about to be moved into place.

        Args:
            lines: what it adds to common files, by their names; None: as it was.
        """

    def done_file(
        self, file_id: int, hooks_version: str, input_signature: str | None, done: Done
    ) -> None:
        """Note that the file is done; its intent is over."""

    def intents(self) -> Iterable[tuple[int, str, Sequence[OutputFile]]]:
        """Yield id, path and outputs of the files whose intent is not over."""


class Commits(Generic[_Item]):
    """Commits that were started together, so that the journal makes them in one group.

    One lock guards `_ended` and `_under_way`; the waiting thread is woken once, at the end.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended: list[tuple[_Item, BaseException | None]] = []
        self._under_way = 1  # one for `wait`, so that it cannot be over before
        self._is_over = threading.Event()

    def start(self, item: _Item, begin: Callable[[Done], None]) -> None:
        """Start the commit that belongs to `item`; what `begin` raises is raised, and forgotten."""
        with self._lock:
            self._under_way += 1
        try:
            begin(lambda error: self._end((item, error)))
        except BaseException:
            self._end()
            raise

    def wait(self) -> Iterable[tuple[_Item, BaseException | None]]:
        """Return every item, once all commits are over, with what went wrong or None."""
        self._end()
        self._is_over.wait()
        return self._ended

    def _end(self, *ended: tuple[_Item, BaseException | None]) -> None:
        with self._lock:
            self._ended += ended
            self._under_way -= 1
            if not self._under_way:
                self._is_over.set()
