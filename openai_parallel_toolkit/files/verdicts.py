"""Decide whether a file is due, from what the journal and the two folders hold of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ..core.records import FileState, OutputFile, Record
from .inputs import Inputs, Same
from .match import Selection
from .output_tree import OutputTree
from .remarks import BLANK_OUTPUTS, CHANGED_INPUTS, FOUND_OUTPUTS, WROTE_NOTHING, Remarks
from .spill import Names

#: Outputs of one input that are looked for by its name.
_MOST_ALIKE = 8

Verdict = Literal["due", "done", "existing", "aside"]


class States(Protocol):
    """What a scan asks of the journal."""

    def records_in(self, folder: str) -> Iterable[Record]:
        """Yield the files directly in a folder ("" is the root), as Python sorts their names."""

    def is_let_go(self, record: Record) -> bool:
        """Whether a file that was put aside is due again."""

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


@dataclass(slots=True)
class FolderOutputs:
    """What lies in one output folder, as long as its inputs are decided on.

    By their stems the names are looked up only when that is first asked for: for what is done,
    and that may be a million files, nobody asks.
    """

    folder: str
    #: By their keys.
    names: Names
    #: Empty, for the names by the keys of their stems.
    _by_stem: Names
    _key: Callable[[str], str]
    _is_sorted: bool = False

    def fill(self, names: Iterable[str]) -> None:
        """Take in the names."""
        if self._key is str:
            self.names.extend(names)
        else:
            for name in names:
                self.names.add(self._key(name), name)

    def called_after(self, stem: str) -> Iterator[str]:
        """Yield the outputs whose name without its extension is an input's, or all of it."""
        if not self._is_sorted:
            self._sort()
        key = self._key(stem)
        found = self.names.get(key)
        if found is not None:
            yield os.path.join(self.folder, found or key)
        for way in _ways(key):
            found = self._by_stem.get(way)
            if found is None:
                break
            yield os.path.join(self.folder, found)

    def _sort(self) -> None:
        self._is_sorted = True
        for key in self.names:
            name = self.names.get(key) or key
            for way in _ways(os.path.splitext(key)[0]):
                if self._by_stem.add(way, name) is None:
                    break


def _ways(stem: str) -> Iterator[str]:
    """Yield the keys under which outputs with a stem are kept."""
    yield stem
    for number in range(1, _MOST_ALIKE):
        yield f"{stem}/{number}"  # no name has a slash


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

    def undisturbed(self, outputs: FolderOutputs, same: Same) -> Callable[[Record], bool]:
        """Return what tells whether a file of a folder is done as it was, with nothing to remark.

        All that `of` asks of such a file, in a third of the time; of others it says no.
        """
        key, is_there = self._key, outputs.names.lookup()
        above = f"{outputs.folder}/" if outputs.folder else ""
        below, done, is_forced = len(above), FileState.DONE, self._selection.force

        def is_undisturbed(record: Record) -> bool:
            name, state, finals, _, signature, blank_outputs, wrote_nothing, _ = record
            if state is not done or blank_outputs or wrote_nothing or is_forced:
                return False
            for final in finals:
                if not (final.startswith(above) and is_there(key(final[below:]))):
                    return False
            return signature is None or same(name, signature) is signature

        return is_undisturbed

    def of(
        self, path: str, stem: str, record: Record | None, outputs: FolderOutputs, same: Same
    ) -> Verdict:
        """Return where a file stands; `outputs` and `same` are those of its folder."""
        if self._selection.force:
            return "due"
        if record is not None and record.state is FileState.DONE:
            for final in record.finals:
                if not self._is_there(final, outputs):
                    return "due"
            return self._of_done(path, record, same)
        called = dict.fromkeys(outputs.called_after(stem))
        found = dict.fromkeys((*called, *self._ending_alike(stem, outputs)))
        unknown = [final for final in found if self._is_unknown(final, is_begun=record is not None)]
        if unknown:
            self._learn(path, unknown)
        if unknown or (called and record is None):
            return "existing"
        if record is None or record.state is not FileState.ASIDE or self._states.is_let_go(record):
            return "due"
        return "due" if self._selection.retry_failed else "aside"

    def _of_done(self, path: str, record: Record, same: Same) -> Verdict:
        signature = record.signature
        if signature is not None:
            now = same(record.name, signature)
            if now is None:
                if self._selection.on_changed_input == "redo":
                    return "due"
                self.remarks.add(CHANGED_INPUTS, path)
            elif now != signature:
                self._states.renew_signature(record.id, now)
        if record.blank_outputs:
            self.remarks.add(BLANK_OUTPUTS, path, record.blank_outputs)
        if record.wrote_nothing:
            self.remarks.add(WROTE_NOTHING, path)
        return "done"

    def _is_there(self, final: str, outputs: FolderOutputs) -> bool:
        parent, _, name = final.rpartition("/")
        if parent == outputs.folder:
            return self._key(name) in outputs.names
        return self._outputs.holds(final)

    def _ending_alike(self, stem: str, outputs: FolderOutputs) -> Iterator[str]:
        """Yield the outputs that end as those of other inputs do."""
        base = os.path.join(outputs.folder, stem)
        for suffix in self._suffixes:
            if self._is_there(base + suffix, outputs):
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
