"""What is known of one input while it is worked on: frozen data that outlives the process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from enum import Enum
from typing import Any

from ...batch.service.check import Finding
from ...core.errors import JournalError
from ...core.records import Usage


class JobStage(str, Enum):
    """What has been done for an input, each durable before the next is begun."""

    #: It was chosen; nothing else was done.
    TAKEN = "taken"
    #: It was checked; the lines to ask lie in its folder.
    READY = "ready"
    #: A batch of them is on its way, and knows how far it is.
    RUNNING = "running"
    #: It is over, and its results lie in the folder.
    COLLECTED = "collected"
    #: What comes of the input is known, and lies in the folder.
    SETTLED = "settled"
    #: It lies in its place; what is left over is being deleted.
    PUBLISHED = "published"
    #: Nothing is left to do.
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFigures:
    """What came of an input's lines."""

    answered: int = 0
    failed: int = 0
    #: Result lines that belong to no line of the input.
    unmatched: int = 0
    usage: Usage = field(default_factory=Usage)
    #: At batch prices, of those answers whose model has a price.
    cost_usd: Decimal = Decimal(0)
    #: Answers, and lines in doubt, whose price is not known.
    unpriced: int = 0
    #: Lines in doubt, counted once for each batch: they may be billed, and nothing says how much.
    in_doubt: int = 0
    #: The most that these can have cost, of those whose model has a price.
    doubt_usd: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One input on its way."""

    #: In the journal.
    id: int
    #: Unique; stands in the names of remote files and in the metadata of batches.
    token: str
    #: Below the input folder.
    path: str
    #: Of the input when it was read.
    signature: str
    #: Folder of its results, below the output and the error folder.
    folder: str
    taken_wall_s: float
    stage: JobStage = JobStage.TAKEN
    #: Whether the service could not, or must not, read the input by itself.
    is_import_refused: bool = False
    #: Whether it begins with a byte order mark.
    has_mark: bool = False
    #: Which file of lines is asked: 0 is the input, others hold what is left of it.
    lines_file: int = 0
    #: Which one each of its batches had.
    lines_files: tuple[int, ...] = ()
    lines: int = 0
    size_bytes: int = 0
    #: URL of its lines.
    url: str = ""
    model: str = ""
    #: None: not counted.
    prompt_tokens: int | None = None
    #: As counted, else about.
    likely_tokens: int = 0
    #: Why the whole input failed; empty when it did not.
    findings: tuple[Finding, ...] = ()
    #: How many there are in all.
    findings_count: int = 0
    figures: LineFigures = field(default_factory=LineFigures)

    def at(self, stage: JobStage) -> Job:
        """Return the job at another stage."""
        return replace(self, stage=stage)


#: Fields of figures that are kept as text.
_MONEY = ("cost_usd", "doubt_usd")


def job_to_json(job: Job) -> dict[str, Any]:
    """Return a job as JSON values, without its id."""
    plain = asdict(job)
    del plain["id"]
    for name in _MONEY:
        plain["figures"][name] = str(plain["figures"][name])
    return plain


def job_from_json(job_id: int, plain: Mapping[str, Any]) -> Job:
    """Return what `job_to_json` was given.

    Raises:
        JournalError: it was something else.
    """
    try:
        figures = dict(plain["figures"])
        figures["usage"] = Usage(**figures["usage"])
        figures.update({name: Decimal(figures[name]) for name in _MONEY})
        told = {
            "stage": JobStage(plain["stage"]),
            "findings": tuple(Finding(**one) for one in plain["findings"]),
            "figures": LineFigures(**figures),
            "lines_files": tuple(plain["lines_files"]),
        }
        return Job(**{**plain, **told, "id": job_id})
    except (ArithmeticError, KeyError, TypeError, ValueError) as exc:
        raise JournalError(
            f"job {job_id} in the journal is not what this version writes: {exc}; use the version "
            "that wrote it, or another state_path."
        ) from exc
