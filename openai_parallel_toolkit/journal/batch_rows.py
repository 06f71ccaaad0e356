"""What the journal hands out of batch mode: frozen pictures of its rows."""

from __future__ import annotations

from dataclasses import dataclass
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


class Queued(NamedTuple):
    """What waits to be put into batches, of one path and model."""

    path: str
    model: str
    lines: int
    size_bytes: int
    tokens: int
    #: Of the one that has the most.
    most_tokens: int
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


class Straggler(NamedTuple):
    """A queued call that a batch did not answer, or cannot take."""

    id: int
    call: CallId
    request: Request
    #: How often it was put into a batch.
    sends: int


class Stage(str, Enum):
    """How far a batch has come, as far as is durable."""

    #: Its lines are chosen and claimed; perhaps uploaded.
    FORMED = "formed"
    #: Its file is there; perhaps created.
    UPLOADED = "uploaded"
    #: The provider works on it.
    CREATED = "created"
    #: Its answers are kept; remote files are perhaps still there.
    COLLECTED = "collected"
    CLOSED = "closed"


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
    stage: Stage
    #: None: not known yet.
    input_file_id: str | None
    #: None: not known yet.
    remote_id: str | None
    #: Seconds since 1970-01-01 UTC.
    formed_wall_s: float


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


class Ready(NamedTuple):
    """A suspended file that waits for nothing more."""

    file_id: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How batch mode stands."""

    #: Lines that wait for a batch.
    queued: int = 0
    #: Lines in batches that are not collected.
    in_batches: int = 0
    #: Batches that are not collected.
    batches: int = 0
    #: Files that wait for answers.
    suspended: int = 0
