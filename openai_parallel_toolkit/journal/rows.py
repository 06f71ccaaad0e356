"""What the journal hands out: frozen pictures of its rows."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from ..core.errors import JournalError
from ..core.records import FailureNote, FileState, OutcomeKind, OutputFile, Usage
from ..costs.figures import Figures
from .batch_rows import BatchCounts

#: How the bytes of an answer are kept.
PLAIN, ZLIB = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """Where one input stands."""

    id: int
    #: Below the input folder, with forward slashes.
    path: str
    #: None: its hooks were never started.
    state: FileState | None = None
    #: Runs in which its hooks failed since it was last done or released.
    failed_runs: int = 0
    #: Whether it was open when a run died without a word.
    is_suspect: bool = False
    #: The hooks that finished it, "" if not known; None: it was never done.
    hooks_version: str | None = None
    #: What its input looked like then; None: it was never done, or not looked at.
    input_signature: str | None = None
    #: Final paths that its last intent listed, below the output folder.
    finals: tuple[str, ...] = ()
    #: How many of them hold nothing but white space.
    blank_outputs: int = 0
    #: Whether there are none, and no line was added to a common file.
    wrote_nothing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBody:
    """What was asked, or what came, of an attempt; it is unpacked when it is asked for."""

    attempt_id: int
    encoding: int
    crc: int
    stored: bytes = field(repr=False)

    def body(self) -> bytes:
        """Return the bytes as they went out, or came.

        Raises:
            JournalError: the bytes on the disk are not those that were written.
        """
        if not is_whole(self.stored, self.crc):
            raise JournalError(
                f"The stored answer of attempt {self.attempt_id} is damaged; run the command "
                "`repair`, which drops it so that it is asked for again.",
                attempt_id=self.attempt_id,
            )
        return zlib.decompress(self.stored) if self.encoding == ZLIB else self.stored


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRecord(StoredBody):
    """An answer that was paid for."""

    #: Those of the reply's headers that are kept.
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """A request that was made for a file, as its last attempt came out."""

    run_id: int
    model: str
    #: None: not known, or it was not answered.
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None

    @property
    def usage(self) -> Usage | None:
        """What its answer used; None: not known."""
        if self.prompt_tokens is None or self.completion_tokens is None:
            return None
        return Usage(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            cached_tokens=self.cached_tokens or 0,
        )


def is_whole(stored: object, crc: object) -> bool:
    """Tell whether the bytes of an answer are those that were written."""
    return isinstance(stored, bytes) and zlib.crc32(stored) == crc


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTotals:
    """Figures of the newest run and of all runs together."""

    this_run: Figures
    all_runs: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run, as it began and ended."""

    id: int
    #: Seconds since 1970-01-01 UTC.
    started_wall_s: float
    pid: int
    host: str
    hooks_version: str
    #: None: it is still on, or it died.
    ended_wall_s: float | None
    #: "" while it has no end.
    how: str
    #: What its owner noted at the end, as JSON; "{}" while it has no end.
    summary_json: str
    #: What it was given, as JSON; "{}": not told.
    settings_json: str = "{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How the work stands."""

    files: Mapping[FileState, int]
    #: The newest run; None: there was none.
    run: RunRecord | None
    totals: RunTotals
    #: Of all runs.
    by_key: Mapping[str, Figures]
    #: Of all runs.
    by_model: Mapping[str, Figures]
    #: Reasons by name of the keys that were dropped.
    dropped: Mapping[str, str]
    #: What waits in batch mode.
    batches: BatchCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFailure:
    """A file that failed or was put aside, and why."""

    path: str
    #: FAILED or ASIDE.
    state: FileState
    failed_runs: int
    note: FailureNote


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnding:
    """How an attempt ended. Token counts and cost are None when they are not known."""

    kind: OutcomeKind
    #: HTTP status; None when no reply came.
    status: int | None
    code: str
    message: str
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    cost_usd: Decimal | None
    request_id: str
    #: Seconds since 1970-01-01 UTC.
    ended_wall_s: float
    #: From its sending to its end; None: not known.
    service_s: float | None
    #: As the answer says; "": it does not, or is not known.
    finish_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One request that was, or was about to be, sent for a file."""

    id: int
    run_id: int
    #: Hex SHA-256 of the request.
    hash: str
    k: int
    attempt_try: int
    key_name: str
    model: str
    #: None: the price is not known.
    max_cost_usd: Decimal | None
    #: Seconds since 1970-01-01 UTC.
    started_wall_s: float
    #: How long it waited for a key before, and for what, in a word; "": for nothing.
    waited_s: float
    wait_reason: str
    #: None: it is in flight, or its process died.
    ending: AttemptEnding | None
    #: None: no answer, or it was pruned.
    answer: AnswerRecord | None
    #: What was asked; None: it was not kept, or was pruned.
    request: StoredBody | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDetail:
    """All that is known of one file."""

    file: FileRecord
    #: None: nothing failed since it was last done.
    failure: FailureNote | None
    outputs: tuple[OutputFile, ...]
    #: In the order in which they were claimed.
    attempts: tuple[Attempt, ...]
    #: The run that finished it; None: it is not done.
    done_run_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCost:
    """What one file cost in all runs, as far as it is known."""

    path: str
    answers: int
    tokens: int
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A call as its last attempt came out."""

    path: str
    #: Counts from 1 within its file, in the order in which its calls were first asked.
    number: int
    #: Hex SHA-256 of the request.
    hash: str
    #: None: it is in flight, or its process died.
    kind: OutcomeKind | None
    #: None: the price is not known.
    max_cost_usd: Decimal | None
    #: None: not known, or it costs nothing.
    cost_usd: Decimal | None
    attempts: int
    run_id: int
    attempt_try: int
    key_name: str
    model: str
    #: These are None where the last attempt has no end.
    status: int | None
    code: str | None
    message: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    request_id: str | None
    finish_reason: str | None
    #: For a key, before the last attempt.
    waited_s: float
    #: Of the last attempt, from its sending to its end; None: not known.
    service_s: float | None
    #: Seconds since 1970-01-01 UTC: of the first attempt, of the last, and its end.
    first_wall_s: float
    started_wall_s: float
    ended_wall_s: float | None
    #: None: it was not kept, or was pruned.
    request: StoredBody | None
    #: None: no answer, or it was pruned.
    answer: AnswerRecord | None


@dataclass(frozen=True, slots=True)
class FileFigures:
    """A file, and what its attempts came to."""

    path: str
    state: FileState
    failed_runs: int
    #: None: nothing failed since it was last done.
    failure_kind: str | None
    failure_message: str | None
    outputs: tuple[str, ...]
    attempts: int
    answered: int
    #: Without a whole reply, or without an end.
    maybe_billed: int
    #: None: no answer tells them.
    prompt_tokens: int | None
    completion_tokens: int | None
    #: What is known.
    cost_usd: float
    #: The most that attempts of unknown cost can have cost besides.
    doubt_usd: float
    #: Attempts that are maybe billed, and have no price.
    unpriced: int
    #: Seconds since 1970-01-01 UTC; None: there was none.
    started_wall_s: float | None
    ended_wall_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """What `prune` took out."""

    answers: int
    requests: int
    freed_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairReport:
    """What `repair` found and saved."""

    #: Empty: the journal is sound and was left as it is.
    problems: tuple[str, ...]
    #: Where the damaged journal is kept; None: nothing was damaged.
    kept_as: str | None = None
    #: Rows that were saved.
    files: int = 0
    attempts: int = 0
    answers: int = 0
