"""Find what is to do: one pass per folder, before anything is paid."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count, islice

from ..core.errors import ScanError, SharedOutput, UnsafePath
from ..core.records import Record
from .inputs import Inputs, Kind
from .match import Layout, Selection
from .output_tree import OutputTree
from .plan import Plan, Spool
from .spill import IN_MEMORY, Names, SpillDatabase
from .verdicts import FolderOutputs, States, Verdicts

#: Bytes that a file system gives a name, and those that an extension such as ".json" takes.
_NAME_BYTES = 255
_EXTENSION_BYTES = 5


def scan(
    layout: Layout,
    selection: Selection,
    *,
    state_folder: str,
    states: States,
    key: Callable[[str], str],
    inputs: Inputs,
    outputs: OutputTree,
    in_memory: int = IN_MEMORY,
) -> Plan:
    """Walk the input folder and decide which files are due.

    Both `layout.output_root` and `state_folder` must exist.

    Args:
        key: gives equal results for names that the output's file system takes for the same,
            as `name_key` of the staging folder does.
        in_memory: names of one folder that are kept in memory; more of them move to disk.

    Raises:
        SharedOutput: two inputs would write the same output.
        UnsafePath: a link stands where outputs would go.
        ScanError: a folder cannot be read, or nothing matches.
    """
    spill, spool = SpillDatabase(state_folder), Spool(state_folder)
    try:
        verdicts = Verdicts(selection, states, inputs, outputs, key)
        return _Scan(
            layout, selection, inputs, outputs, states, verdicts, key, spill, spool, in_memory
        ).run()
    except BaseException:
        spool.close()
        raise
    finally:
        spill.close()


@dataclass(slots=True)
class _Scan:
    _layout: Layout
    _selection: Selection
    _inputs: Inputs
    _outputs: OutputTree
    _states: States
    _verdicts: Verdicts
    _key: Callable[[str], str]
    _spill: SpillDatabase
    _spool: Spool
    _in_memory: int
    _counts: Counter[str] = field(default_factory=Counter)
    #: Kind of oddity -> the first path that has it.
    _examples: dict[str, str] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)
    #: The last folder whose place among the outputs was looked at; None: none was.
    _safe_folder: str | None = None

    def run(self) -> Plan:
        if self._layout.only is not None:
            if self._inputs.is_own(self._layout.only):
                path = os.path.join(self._layout.input_root, self._layout.only)
                raise ScanError(
                    f"{path!r} is the configuration or a file of the toolkit's own, which is never "
                    "an input; name another input_path.",
                    path=path,
                )
            with self._names() as inputs:
                inputs.add(self._layout.only)
                self._decide("", inputs)
        else:
            self._walk()
        self._spool.finish()
        counts = self._counts
        total = sum(counts[verdict] for verdict in ("due", "later", "done", "existing", "aside"))
        if not total:
            raise ScanError(
                f"No input file in {self._layout.input_root!r}; look at input_path, pattern and "
                "exclude (hidden files are left out).",
                path=self._layout.input_root,
            )
        return Plan(
            total=total,
            due_count=counts["due"],
            later=counts["later"],
            skipped_done=counts["done"],
            skipped_existing=counts["existing"],
            aside=counts["aside"],
            special=counts["special"],
            notes=(*self._notes(), *self._inputs.notes),
            remarks=self._verdicts.remarks,
            spool=self._spool,
        )

    def _walk(self) -> None:
        # A stack of its own: trees may be deeper than Python's recursion.
        open_folders = [self._visit("")]
        while open_folders:
            path = next(open_folders[-1], None)
            if path is None:
                open_folders.pop()
            else:
                open_folders.append(self._visit(path))

    def _visit(self, folder: str) -> Iterator[str]:
        """Decide on the files of one folder, then yield the folders in it."""
        with self._names() as folders:
            with self._names() as inputs:
                self._list(folder, inputs, folders)
                self._refuse_shared(folder, inputs)
                self._decide(folder, inputs)
            yield from (_join(folder, name) for name in folders)

    def _list(self, folder: str, inputs: Names, folders: Names) -> None:
        with self._names() as alike, self._inputs.entries(folder) as entries:
            inputs.extend(self._chosen(folder, entries, folders, alike))

    def _chosen(
        self, folder: str, entries: Iterable[tuple[str, Kind]], folders: Names, alike: Names
    ) -> Iterator[str]:
        """Yield the names of inputs, and take in those of folders."""
        wants_all = self._selection.wants_all
        for name, kind in entries:
            if name[0] == ".":
                continue
            if wants_all and kind == "file":
                yield name
                continue
            path = _join(folder, name)
            if kind in ("folder", "linked", "own"):
                if self._enters(kind, path):
                    other = alike.add(self._key(name), path)
                    if other is not None:
                        raise _shared("folders", other, path)
                    folders.add(name)
            elif not self._selection.wants(path):
                continue
            elif kind == "file":
                yield name
            else:
                self._note("special", path)

    def _enters(self, kind: Kind, path: str) -> bool:
        if not self._selection.recursive or self._selection.leaves_out(path):
            return False
        if kind == "linked":
            self._note("linked", path)
        return kind == "folder"

    def _decide(self, folder: str, inputs: Names) -> None:
        counts = self._counts
        records = iter(self._states.records_in(folder))
        with (
            self._names() as existing,
            self._names() as by_stem,
            self._inputs.same_in(folder) as same,
        ):
            outputs = FolderOutputs(folder, existing, by_stem, self._key)
            outputs.fill(self._outputs.names_in(folder))
            is_undisturbed = self._verdicts.undisturbed(outputs, same)
            for name, record in _joined(inputs, records):
                if record is not None and is_undisturbed(record):
                    counts["done"] += 1
                    continue
                path, stem = _join(folder, name), self._layout.stem(name)
                verdict = self._verdicts.of(path, stem, record, outputs, same)
                if verdict != "due":
                    counts[verdict] += 1
                elif counts["due"] == self._selection.file_count:
                    counts["later"] += 1
                else:
                    self._add_due(folder, path, stem, record)

    def _add_due(self, folder: str, path: str, stem: str, record: Record | None) -> None:
        self._counts["due"] += 1
        if folder != self._safe_folder:
            self._refuse_links(folder)
            self._safe_folder = folder
        if len(os.fsencode(stem)) + _EXTENSION_BYTES > _NAME_BYTES:
            self._note("long", path)
        self._spool.add(path, is_known=record is not None)

    def _refuse_shared(self, folder: str, inputs: Names) -> None:
        """Refuse inputs of a folder that would share an output."""
        stems = list(map(self._key, map(self._layout.stem, islice(inputs, self._in_memory + 1))))
        if len(set(stems)) == len(stems) <= self._in_memory:
            return  # as a rule; else there are many, or two that share
        with self._names() as claims:
            for name in inputs:
                path = _join(folder, name)
                other = claims.add(self._key(self._layout.stem(name)), path)
                if other is not None:
                    raise _shared("files", other, path)

    def _refuse_links(self, folder: str) -> None:
        path = self._layout.output_root
        for part in filter(None, folder.split("/")):
            path = os.path.join(path, part)
            try:
                is_folder = stat.S_ISDIR(os.lstat(path).st_mode)
            except FileNotFoundError:
                return
            if not is_folder:
                raise UnsafePath(
                    f"{path!r} is a link or a file where outputs would go; move it away.",
                    path=path,
                )

    def _names(self) -> closing[Names]:
        map = b"%d" % next(self._numbers)
        return closing(Names(self._spill, map, in_memory=self._in_memory))

    def _note(self, kind: str, path: str) -> None:
        self._counts[kind] += 1
        self._examples.setdefault(kind, path)

    def _notes(self) -> Iterator[str]:
        for kind, says in _NOTES.items():
            if kind in self._examples:
                yield says.format(count=self._counts[kind], example=self._examples[kind])


_NOTES = {
    "special": "{count} FIFOs, devices, sockets or broken links were left out, first {example!r}.",
    "linked": "{count} links to folders were not followed, first {example!r}.",
    "long": "{count} names may be too long once an extension is added, first {example!r}.",
}


def _shared(what: str, other: str, path: str) -> SharedOutput:
    way_out = "Set output_names='whole' or rename one" if what == "files" else "Rename one"
    return SharedOutput(
        f"The {what} {other!r} and {path!r} would share one output. {way_out}.",
        inputs=(other, path),
    )


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _joined(names: Iterable[str], records: Iterator[Record]) -> Iterator[tuple[str, Record | None]]:
    """Put each name and its record together; both come as Python sorts names."""
    record = next(records, None)
    for name in names:
        while record is not None and record[0] < name:
            record = next(records, None)
        yield name, record if record is not None and record[0] == name else None
