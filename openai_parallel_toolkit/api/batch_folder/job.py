"""What is known of one input while it is worked on: frozen data that outlives the process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from decimal import Decimal
from enum import Enum
from typing import Any

from ...batch.service.check import Finding
from ...core.records import Usage


class Stage(str, Enum):
    """What has been done for an input, each durable before the next is begun."""

    #: It was chosen; nothing else was done.
    TAKEN = "taken"
    #: It was checked; the lines to ask lie in the work folder.
    READY = "ready"
    #: A key was chosen, and the lines may be on their way there.
    SENDING = "sending"
    #: They lie with the provider, and a batch may be made of them.
    SENT = "sent"
    #: The batch is known.
    RUNNING = "running"
    #: It is over, and its results lie in the work folder.
    COLLECTED = "collected"
    #: What comes of the input is known, and lies in the work folder.
    SETTLED = "settled"
    #: It lies in its place; what is left over is being deleted.
    PUBLISHED = "published"
    #: Nothing is left to do.
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One batch of an input's lines: of all of them, or of those that the last one left."""

    #: Of the key that owns it.
    key_name: str
    #: Recognises that key, whatever it is called in the next run.
    fingerprint: str
    #: None: not sent yet.
    input_file_id: str | None = None
    #: How often the service refused the batch because too much was enqueued.
    refused: int = 0
    #: None: not created yet.
    batch_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    #: As the service said last.
    status: str = ""
    #: Lines: all, answered, failed.
    total: int = 0
    completed: int = 0
    failed: int = 0
    created_wall_s: float = 0.0
    ended_wall_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What came of an input's lines."""

    answered: int = 0
    failed: int = 0
    #: Result lines that belong to no line of the input.
    strangers: int = 0
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

    #: Unique; stands in the names of remote files and in the metadata of batches.
    id: str
    #: Below the input folder.
    path: str
    #: Of the input when it was read.
    signature: str
    #: Folder of its results, below the output and the error folder.
    folder: str
    taken_wall_s: float
    stage: Stage = Stage.TAKEN
    #: Whether its batch was cancelled here, so that the rest is not asked again.
    is_cancelled: bool = False
    #: Whether the service could not read the input by itself.
    is_import_refused: bool = False
    lines: int = 0
    size_bytes: int = 0
    #: URL of its lines.
    url: str = ""
    model: str = ""
    #: None: not counted.
    prompt_tokens: int | None = None
    rounds: tuple[Round, ...] = ()
    #: Why the whole input failed; empty when it did not.
    findings: tuple[Finding, ...] = ()
    #: How many there are in all.
    findings_count: int = 0
    figures: Figures = field(default_factory=Figures)

    @property
    def last(self) -> Round:
        """The round that is under way."""
        return self.rounds[-1]

    def with_round(self, **changes: Any) -> Job:
        """Return the job with the last round changed."""
        return replace(self, rounds=(*self.rounds[:-1], replace(self.last, **changes)))

    def at(self, stage: Stage) -> Job:
        """Return the job at another stage."""
        return replace(self, stage=stage)


#: Fields of figures that are kept as text.
_MONEY = ("cost_usd", "doubt_usd")


def job_to_json(job: Job) -> dict[str, Any]:
    """Return a job as JSON values."""
    plain = asdict(job)
    for name in _MONEY:
        plain["figures"][name] = str(plain["figures"][name])
    return plain


def job_from_json(plain: Mapping[str, Any]) -> Job:
    """Return what `job_to_json` was given; fields it does not know are passed over.

    Raises:
        KeyError, TypeError, ValueError: it was something else.
    """
    figures = dict(plain["figures"])
    figures["usage"] = Usage(**figures["usage"])
    figures.update({name: Decimal(figures[name]) for name in _MONEY if name in figures})
    return Job(
        **{
            **_known(Job, plain),
            "stage": Stage(plain["stage"]),
            "rounds": tuple(Round(**_known(Round, one)) for one in plain["rounds"]),
            "findings": tuple(Finding(**_known(Finding, one)) for one in plain["findings"]),
            "figures": Figures(**_known(Figures, figures)),
        }
    )


def _known(kind: Any, plain: Mapping[str, Any]) -> dict[str, Any]:
    names = {one.name for one in fields(kind)}
    return {name: value for name, value in plain.items() if name in names}
