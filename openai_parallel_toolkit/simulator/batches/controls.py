"""How batches go, and how fast: what a test says before or while they run."""

from __future__ import annotations

from collections import deque
from dataclasses import KW_ONLY, dataclass
from typing import Any

#: Ways to end, and how a batch is called then.
ENDS = frozenset({"completed", "failed", "expired", "cancelled"})
_TIMES = ("seconds", "window_s", "listed_after_s")


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What the provider takes."""

    _: KW_ONLY
    #: Lines in a batch.
    lines: int = 50_000
    #: Bytes in a file for a batch.
    file_bytes: int = 200 * 1024 * 1024
    #: Files that one Azure key may keep.
    azure_files: int = 500


@dataclass(frozen=True, slots=True)
class BatchCourse:
    """How a batch goes, if nobody cancels it and its file is in order.

    Raises:
        ValueError: `end` is not one of ENDS, or a number is out of its range.
        TypeError: a number is none.
    """

    end: str = "completed"
    _: KW_ONLY
    #: Share of the lines that are answered before it expires or is cancelled, 0 to 1.
    share: float = 1.0
    #: Share of the answered (and billed) lines that are in no file, 0 to 1.
    lost_share: float = 0.0
    #: Lines in the output file that nobody asked for.
    strangers: int = 0
    #: Answered lines that stand in the output file again, with another answer.
    repeats: int = 0
    #: Of the error with which it fails.
    code: str = "internal_error"
    #: Of the error with which it fails.
    message: str = "The batch could not be processed."
    #: Seconds from creation to end; None: as all batches.
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.end not in ENDS:
            raise ValueError(f"no batch ends {self.end!r}; known: {', '.join(sorted(ENDS))}")
        for name in ("share", "lost_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, not {getattr(self, name)!r}")
        if min(self.strangers, self.repeats, self.seconds or 0) < 0:
            raise ValueError("strangers, repeats and seconds are not below 0")


class BatchControls:
    """What is wanted of batches. Any thread may change it; only the event loop's takes courses."""

    def __init__(self, *, seconds: float, window_s: float) -> None:
        #: Seconds from a batch's creation to its end, if its lines take no longer.
        self.seconds = seconds
        #: Seconds from a batch's creation until it expires.
        self.window_s = window_s
        #: Seconds from any batch's creation until it is listed.
        self.listed_after_s = 0.0
        #: Whether no line is answered now.
        self.is_held = False
        self._usual = BatchCourse()
        self._next: deque[BatchCourse] = deque()

    def set_pace(
        self,
        *,
        seconds: float | None = None,
        window_s: float | None = None,
        listed_after_s: float | None = None,
    ) -> None:
        """Change how long the batches created from now on take; None leaves it as it is."""
        self.seconds = self.seconds if seconds is None else seconds
        self.window_s = self.window_s if window_s is None else window_s
        self.listed_after_s = self.listed_after_s if listed_after_s is None else listed_after_s

    def hold(self) -> None:
        """Answer no further line; batches stay in_progress until `release`."""
        self.is_held = True

    def release(self) -> None:
        """Let held batches go on."""
        self.is_held = False

    def follow(self, *courses: BatchCourse) -> None:
        """Let the next batches created go these ways, one each, in this order."""
        self._next.extend(courses)

    def always_follow(self, course: BatchCourse) -> None:
        """Let all further batches go this way, save those that `follow` named."""
        self._usual = course

    def take_course(self) -> BatchCourse:
        """Return how the batch that is now created will go."""
        return self._next.popleft() if self._next else self._usual

    def update(self, wishes: object) -> None:
        """Do what a JSON object says: the times of `set_pace`, `is_held`, `next` and `always`.

        Any other is a ValueError.
        """
        if not isinstance(wishes, dict):
            raise ValueError("this is no object")  # noqa: TRY004 - told as the other mistakes are
        known = {*_TIMES, "is_held", "next", "always"}
        if unknown := set(wishes) - known:
            raise ValueError(f"{sorted(unknown)} are none of {sorted(known)}")
        try:
            courses = [BatchCourse(**fields) for fields in wishes.get("next", ())]
            always = BatchCourse(**wishes["always"]) if "always" in wishes else self._usual
            pace = {name: float(wishes[name]) for name in _TIMES if name in wishes}
        except TypeError as exc:
            raise ValueError(f"a course is an object with fields of BatchCourse: {exc}") from exc
        self.set_pace(**pace)
        self.follow(*courses)
        self.always_follow(always)
        self.is_held = bool(wishes.get("is_held", self.is_held))

    def fields(self) -> dict[str, Any]:
        """Return what is wanted, for JSON."""
        return {name: getattr(self, name) for name in (*_TIMES, "is_held")}
