"""What the journal hands out of batch mode: frozen pictures of its rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import NamedTuple

from ..core.records import CallId, Outcome, OutcomeKind, Request


class Ask(NamedTuple):
    """A call that found no answer."""

    call: CallId
    request: Request
    #: None: the price is not known.
    max_cost_usd: Decimal | None
    #: Embeddings that it asks for; 1 for what is no embedding.
    inputs: int = 1


class Queued(NamedTuple):
    """What waits to be put into batches, of one path and model."""

    path: str
    model: str
    lines: int
    size_bytes: int
    tokens: int
    #: Of the one that has the most.
    most_tokens: int
    #: Embeddings that they ask for.
    inputs: int
    #: When the first of them was queued, seconds since 1970.
    oldest_wall_s: float


class Line(NamedTuple):
    """One queued call, without its body."""

    id: int
    call: CallId
    #: Of its body.
    size_bytes: int
    #: Of its prompt, estimated.
    tokens: int
    max_cost_usd: Decimal | None
    #: Embeddings that it asks for.
    inputs: int = 1


class ReturnedLine(NamedTuple):
    """A queued call that a batch did not answer, or cannot take."""

    id: int
    call: CallId
    request: Request
    #: How often it was put into a batch.
    sends: int


class BatchStage(str, Enum):
    """How far a batch has come, as far as is durable."""

    #: Its lines and its key are chosen; perhaps uploaded.
    FORMED = "formed"
    #: Its file is there; perhaps created.
    UPLOADED = "uploaded"
    #: The provider works on it.
    CREATED = "created"
    #: Its results are kept; remote files are perhaps still there.
    COLLECTED = "collected"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the provider said of a batch, and how its lines ended that it did not speak of."""

    #: As it was said last.
    status: str = ""
    output_file_id: str | None = None
    error_file_id: str | None = None
    #: Lines: all, answered, failed.
    total: int = 0
    completed: int = 0
    failed: int = 0
    created_wall_s: float = 0.0
    #: None: it is not over.
    ended_wall_s: float | None = None
    #: Whether it was cancelled here, so that the rest is not asked again.
    is_cancelled: bool = False
    #: How lines ended of which no result speaks, an OutcomeKind, and why; "": not known yet.
    rest: str = ""
    code: str = ""
    message: str = ""
    #: Whether it speaks against the key, so that it does not count as an attempt.
    is_blamed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """One batch."""

    id: int
    #: The run that formed it.
    run_id: int
    #: The key that owns it.
    key_name: str
    #: Recognises that key, salted with the journal's salt.
    fingerprint: str
    path: str
    model: str
    #: What its remote file and its metadata are marked with.
    token: str
    lines: int
    #: Prompt tokens, estimated.
    tokens: int
    stage: BatchStage
    #: None: not known yet.
    input_file_id: str | None = None
    #: None: not known yet.
    remote_id: str | None = None
    #: Seconds since 1970-01-01 UTC.
    formed_wall_s: float
    #: The input whose lines it carries; None: they are calls of hooks.
    job_id: int | None = None
    told: Told = field(default_factory=Told)


class Sent(NamedTuple):
    """A line of a batch, by its attempt."""

    attempt_id: int
    call: CallId
    max_cost_usd: Decimal | None
    #: How often it was put into a batch.
    sends: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a line got no answer, for its hook."""

    kind: OutcomeKind
    code: str
    message: str
    #: HTTP status; None: there was none.
    status: int | None
    #: How often it was sent.
    attempts: int

    @classmethod
    def of(cls, outcome: Outcome, attempts: int) -> Refusal:
        """Return why a line is given up that ended so."""
        told = {one: getattr(outcome, one) for one in ("kind", "code", "message", "status")}
        return cls(**told, attempts=attempts)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineEnd:
    """How an attempt in a batch ended."""

    sent: Sent
    outcome: Outcome
    #: None: not known.
    cost_usd: Decimal | None
    #: The answer; None: there is none.
    body: bytes | None = None
    #: Why it is given up; None: it is answered, or goes again.
    refusal: Refusal | None = None
    #: False: that it was in a batch does not count.
    is_counted: bool = True


class Ready(NamedTuple):
    """A suspended file that waits for nothing more."""

    file_id: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCounts:
    """How batch mode stands."""

    #: Lines that wait for a batch.
    queued: int = 0
    #: Lines in batches that are not collected.
    in_batches: int = 0
    #: Batches that are not collected.
    batches: int = 0
    #: Files that wait for answers.
    suspended: int = 0
