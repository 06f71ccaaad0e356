"""Decide whether a file is due, from what the journal and the two folders hold of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from ..core.records import FileState, OutputFile
from .inputs import Inputs
from .match import Selection
from .output_tree import OutputTree
from .remarks import BLANK_OUTPUTS, CHANGED_INPUTS, FOUND_OUTPUTS, WROTE_NOTHING, Remarks
from .spill import Names

#: Outputs of one input that are looked for by its name.
_MOST_ALIKE = 8

Verdict = Literal["due", "done", "existing", "aside"]


class Record(NamedTuple):
    """What the journal says of an input."""

    #: Below its folder.
    name: str
    state: FileState
    #: The outputs that were recorded for it.
    finals: tuple[str, ...]
    id: int = 0
    #: What the input looked like when it was done; None: not known.
    signature: str | None = None
    blank_outputs: int = 0
    wrote_nothing: bool = False


class States(Protocol):
    """What a scan asks of the journal."""

    def records_in(self, folder: str) -> Iterable[Record]:
        """Yield the files directly in a folder ("" is the root), as Python sorts their names."""

    def owner_of_output(self, final: str) -> int | None:
        """Return the id of the file whose intents listed this output; None: nobody's."""

    def last_wall_s(self) -> float:
        """Return the newest time that the journal knows of; 0: it is new."""

    def suffixes(self) -> Collection[str]:
        """Return what hooks added to the path they were given, where `splitext` cannot tell."""

    def count_as_done(self, path: str, outputs: list[OutputFile], signature: str | None) -> None:
        """Note that a file is done: its outputs are there, made by no run that is known."""

    def renew_signature(self, file_id: int, signature: str) -> None:
        """Note that the unchanged input of a file that is done looks otherwise now."""


def names_there(existing: Names, names: Iterable[str], key: Callable[[str], str]) -> None:
    """Put the names of a folder's outputs into a map, by themselves and by their stems."""
    for name in names:
        own = key(name)
        existing.add(own, name)
        for way in _ways(os.path.splitext(own)[0]):
            if existing.add(way, name) is None:
                break


def _ways(stem: str) -> Iterator[str]:
    """Yield the keys under which outputs with a stem are kept; no name has a slash."""
    yield f"/{stem}"
    for number in range(1, _MOST_ALIKE):
        yield f"/{stem}/{number}"


def found_outputs(tree: OutputTree, finals: Iterable[str]) -> list[OutputFile]:
    """Return what is known of outputs that are there, without reading them."""
    seen = {final: tree.seen(final) for final in finals}
    return [
        OutputFile(
            staged="",
            final=final,
            size_bytes=there.size_bytes,
            sha256="",
            is_blank=not there.size_bytes,
        )
        for final, there in seen.items()
        if there is not None
    ]


@dataclass(slots=True)
class Verdicts:
    """Says of one file after the other where it stands, and keeps count of what is odd."""

    _selection: Selection
    _states: States
    _inputs: Inputs
    _outputs: OutputTree
    _key: Callable[[str], str]
    remarks: Remarks = field(default_factory=Remarks)
    _known_until_s: float = field(init=False)
    _suffixes: Collection[str] = field(init=False)

    def __post_init__(self) -> None:
        self._known_until_s = self._states.last_wall_s()
        self._suffixes = self._states.suffixes()

    def of(self, path: str, stem: str, record: Record | None, existing: Names) -> Verdict:
        """Return where a file stands; `existing` holds the names of its output folder."""
        if self._selection.force:
            return "due"
        folder = os.path.dirname(path)
        if record is not None and record.state is FileState.DONE:
            is_whole = all(self._is_there(folder, final, existing) for final in record.finals)
            return self._of_done(path, record) if is_whole else "due"
        called = dict.fromkeys(self._called_after(folder, stem, existing))
        found = dict.fromkeys((*called, *self._ending_alike(folder, stem, existing)))
        unknown = [final for final in found if self._is_unknown(final, is_begun=record is not None)]
        if unknown:
            self._learn(path, unknown)
        if unknown or (called and record is None):
            return "existing"
        is_aside = record is not None and record.state is FileState.ASIDE
        return "aside" if is_aside and not self._selection.retry_failed else "due"

    def _of_done(self, path: str, record: Record) -> Verdict:
        if record.signature is not None:
            now = self._inputs.signature_of_same(path, record.signature)
            if now is None:
                if self._selection.on_changed_input == "redo":
                    return "due"
                self.remarks.add(CHANGED_INPUTS, path)
            elif now != record.signature:
                self._states.renew_signature(record.id, now)
        self.remarks.add(BLANK_OUTPUTS, path, record.blank_outputs)
        self.remarks.add(WROTE_NOTHING, path, record.wrote_nothing)
        return "done"

    def _is_there(self, folder: str, final: str, existing: Names) -> bool:
        parent, name = os.path.split(final)
        if parent == folder:
            return self._key(name) in existing
        return self._outputs.holds(final)

    def _called_after(self, folder: str, stem: str, existing: Names) -> Iterator[str]:
        """Yield the outputs whose name without its extension is the input's, or all of it."""
        key = self._key(stem)
        found = existing.get(key)
        if found is not None:
            yield os.path.join(folder, found)
        for way in _ways(key):
            found = existing.get(way)
            if found is None:
                break
            yield os.path.join(folder, found)

    def _ending_alike(self, folder: str, stem: str, existing: Names) -> Iterator[str]:
        """Yield the outputs that end as those of other inputs do."""
        base = os.path.join(folder, stem)
        for suffix in self._suffixes:
            if self._is_there(folder, base + suffix, existing):
                yield base + suffix

    def _is_unknown(self, final: str, *, is_begun: bool) -> bool:
        """Whether an output was made by no run that the journal knows.

        Of a file that was begun: and after all that the journal knows, which is then an old copy.
        What lay there before was written by the hooks themselves, perhaps in part.
        """
        if self._known_until_s and self._states.owner_of_output(final) is not None:
            return False
        if not is_begun:
            return True
        seen = self._outputs.seen(final)
        return seen is not None and seen.since_wall_s > self._known_until_s

    def _learn(self, path: str, finals: list[str]) -> None:
        self.remarks.add(FOUND_OUTPUTS, path)
        outputs = found_outputs(self._outputs, finals)
        self._states.count_as_done(path, outputs, self._inputs.signature(path))
