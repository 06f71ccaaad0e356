"""What a summary says of files that count as done and may not be what their owner expects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ..core.text import counted
from ..files.remarks import Remarks

#: Marks, as its `action`, a warning that the summary holds as well.
IN_SUMMARY = "in_summary"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notices:
    """Counts over all files of the run, those that were done before included."""

    #: Files whose outputs were there, made by no run that the journal knows; told once.
    found_outputs: int = 0
    #: Files whose input was changed since they were done.
    changed_inputs: int = 0
    #: About how many finished files would ask something else now.
    changed_prompts: int = 0
    #: Files whose hooks wrote no output and no line.
    wrote_nothing: int = 0
    #: Files in the output folder that such hooks wrote by themselves in this run.
    stray_outputs: int = 0
    #: Outputs that hold nothing but white space.
    blank_outputs: int = 0
    #: Outputs, and lines for common files, that name the folder in which outputs wait.
    staging_names: int = 0
    #: The first file of each, by the names of these fields.
    examples: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, remarks: Remarks, *, changed_prompts: int = 0) -> Notices:
        """Return what was remarked."""
        counts, examples = remarks.told()
        return cls(**counts, changed_prompts=changed_prompts, examples=examples)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def lines(self) -> Iterator[str]:
        """Yield it in words, line by line."""
        if self.found_outputs:
            yield (
                f"Found: {counted(self.found_outputs, 'file')} done by outputs that were there and "
                f"that no known run has made{self._first('found_outputs')}; from now on the "
                "journal knows them. force=True (--force) works on them."
            )
        if self.changed_inputs:
            inputs = counted(self.changed_inputs, "input")
            yield (
                f"Changed: {inputs} since their outputs were made{self._first('changed_inputs')}; "
                'on_changed_input="redo" (--on-changed-input redo) works on them again.'
            )
        if self.wrote_nothing or self.blank_outputs:
            yield f"Empty: {', '.join(self._empty())}. {_WHERE_TO_WRITE}"
        if self.stray_outputs:
            yield (
                f"Not safe: {counted(self.stray_outputs, 'file')} in the output folder, written by "
                f"hooks themselves{self._first('stray_outputs')}; what several add lines to goes "
                "through append_line, else lines are lost, cut or there twice."
            )
        if self.staging_names:
            yield (
                f"Paths: {counted(self.staging_names, 'output or line', 'outputs or lines')} "
                f"with the name of a folder that is gone{self._first('staging_names')}; "
                "current_file() tells a hook where its outputs will lie."
            )

    def _empty(self) -> Iterator[str]:
        if self.wrote_nothing:
            yield f"{counted(self.wrote_nothing, 'file')} wrote nothing" + self._first(
                "wrote_nothing"
            )
        if self.blank_outputs:
            is_or_are = "is" if self.blank_outputs == 1 else "are"
            yield f"{counted(self.blank_outputs, 'output')} {is_or_are} empty" + self._first(
                "blank_outputs"
            )

    def _first(self, what: str) -> str:
        return f" (first {self.examples[what]!r})" if what in self.examples else ""


_WHERE_TO_WRITE = (
    "Outputs are what a hook writes below output_file_without_ext, a whole path; lines that all "
    "share in one file go through append_line. Once the hook is mended, force=True (--force) makes "
    "them anew from the kept answers."
)
