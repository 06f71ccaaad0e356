"""Judge what a hook raised: it stops the run, fails its file or is neither."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..calls.refusals import Clean
from ..core.describe import attribute_of, describe, is_a, kind_of, quietly, trace_of, words_of
from ..core.errors import RequestFailed, ToolkitError, error_behind
from ..core.filesystem import as_toolkit_error, is_disk_trouble
from ..core.records import FailureNote, OutcomeKind
from ..core.redaction import safe_words

_TRACE_FRAMES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class HookFailure:
    """What is to be done about an exception that left a hook; holds nothing of a user's."""

    note: FailureNote
    #: Why the next file would fare no better; None: it may.
    stops_run: ToolkitError | None = None
    #: Whether it counts against the file, and not a server that could not be reached.
    is_own: bool = True

    def cleaned(self, clean: Clean) -> HookFailure:
        """Return it as a process that knows the keys shows it."""
        return replace(self, note=_safe(self.note, clean))


def failure_of(error: BaseException, clean: Clean, place: str) -> HookFailure:
    """Judge an exception, whatever its own methods do.

    Args:
        place: where the disk refused when the error does not say so.
    """
    stops_run = None
    if is_disk_trouble(error):
        stops_run = quietly(lambda: as_toolkit_error(error, place), None)
    behind = error_behind(error)
    outcome = attribute_of(behind, "outcome") if is_a(behind, RequestFailed) else None
    return HookFailure(
        note=note_of(error, clean),
        stops_run=stops_run,
        is_own=outcome is not OutcomeKind.UNSENT,
    )


def note_of(error: BaseException, clean: Clean) -> FailureNote:
    """Return what may be shown and kept of an error."""
    behind, told = error_behind(error), words_of(error)
    if behind is not None and words_of(behind) not in told:
        told = f"{told} ({describe(behind)})"
    trace = "" if is_a(error, ToolkitError) else "".join(trace_of(error)[-_TRACE_FRAMES:])
    return _safe(FailureNote(kind=kind_of(error), message=told, trace=trace), clean)


def _safe(note: FailureNote, clean: Clean) -> FailureNote:
    return FailureNote(
        kind=safe_words(note.kind, clean, 200),
        message=safe_words(note.message, clean, 2_000, keep="\n\t"),
        trace=safe_words(note.trace, clean, 8_000, keep="\n\t"),
    )
