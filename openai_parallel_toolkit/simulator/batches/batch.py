"""A batch, and the counts of enqueued tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..keys import Account
from .controls import ENDS, BatchCourse
from .file_store import StoredFile


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchError:
    """Why a batch failed."""

    code: str
    message: str
    #: Line of the input file, from 1; None: it is about no line.
    line: int | None = None
    param: str | None = None


@dataclass(slots=True, kw_only=True)
class SimBatch:
    """A batch. Changed by the event loop's thread alone, its status last; any thread may look."""

    id: str
    account: Account
    is_azure: bool
    #: As the client named it.
    endpoint: str
    input_file: StoredFile
    metadata: Mapping[str, str]
    course: BatchCourse
    #: Seconds from creation to end, if its lines take no longer.
    seconds: float
    #: Seconds since 1970.
    created_s: float
    expires_s: float
    #: Seconds that its output is kept; None: until it is deleted.
    output_lifetime_s: float | None
    status: str = "validating"
    #: When it came to each status, in seconds since 1970.
    times_s: dict[str, float] = field(default_factory=dict)
    model: str = ""
    #: Prompt tokens that it holds of the key's limit until it is over.
    enqueued_tokens: int = 0
    total: int = 0
    completed: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    errors: list[BatchError] = field(default_factory=list)
    output_file_id: str | None = None
    error_file_id: str | None = None

    @property
    def key(self) -> str:
        """Name of the key whose it is."""
        return self.account.key.name

    @property
    def is_over(self) -> bool:
        """Whether nothing changes any more."""
        return self.status in ENDS

    def enter(self, status: str, now_s: float) -> None:
        """Come to a status."""
        self.times_s[status] = now_s
        self.status = status


@dataclass(slots=True, kw_only=True)
class EnqueuedTokens:
    """Prompt tokens of batches that are not over."""

    now: int = 0
    #: The most that there ever were, those of a batch that was refused for them included.
    peak: int = 0
