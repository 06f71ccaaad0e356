"""What publishing asks of the journal, and how it waits for the journal's own thread."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from ..records import OutputFile

#: Told once, after the commit: None, or why it failed.
Done = Callable[[BaseException | None], None]
_Item = TypeVar("_Item")


class Journal(Protocol):
    """The part of the journal that knows of outputs.

    Outputs that an intent listed belong to its file for good, also when the file fails later.
    """

    def owner_of_output(self, final: str) -> int | None:
        """Return the id of the file whose intents listed this output; None: nobody's."""
        ...

    def intent(self, file_id: int, outputs: Sequence[OutputFile], done: Done) -> None:
        """Note that the file's outputs, none perhaps, are about to be moved into place."""
        ...

    def done_file(
        self, file_id: int, hooks_version: str, input_signature: str | None, done: Done
    ) -> None:
        """Note that the file is done; its intent is over."""
        ...

    def intents(self) -> Iterable[tuple[int, str, Sequence[OutputFile]]]:
        """Yield id, path and outputs of the files whose intent is not over."""
        ...


class Commits(Generic[_Item]):
    """Commits that were started together, so that the journal makes them in one group."""

    def __init__(self) -> None:
        self._answers: queue.SimpleQueue[tuple[_Item, BaseException | None]] = queue.SimpleQueue()
        self._started = 0

    def start(self, item: _Item, begin: Callable[[Done], None]) -> None:
        """Start the commit that belongs to `item`."""
        begin(lambda error: self._answers.put((item, error)))
        self._started += 1

    def wait(self) -> Iterator[tuple[_Item, BaseException | None]]:
        """Yield each item when its commit is over, with what went wrong or None."""
        while self._started:
            yield self._answers.get()
            self._started -= 1
