"""What the head of a run and its workers tell each other. Head: the process that runs the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ...calls.attempts import Policy
from ...calls.file_calls import Answers
from ...core.records import CallId, OutputFile, RawReply, Reply, Request
from ...costs.prices import PriceBook
from ...files.match import Layout
from ...files.staging import StagedFolder
from ...transport.base import HttpExchange
from ..hook_failure import HookFailure

# The head says


class Setup(NamedTuple):
    """What a worker works with; the first message."""

    #: The toolkit, as `packed_toolkit` gives it.
    toolkit: bytes
    version: str
    layout: Layout
    state_folder: str
    prices: PriceBook
    policy: Policy
    #: Whether unusable answers of earlier runs are asked for again.
    renews: bool
    #: Files under way at a time.
    files_each: int
    #: Of the head's loggers that have one of their own, by name; "" is the root.
    log_levels: Mapping[str, int]


class Lend(NamedTuple):
    """A file to work on."""

    file_id: int
    path: str
    staged: StagedFolder
    answers: Answers
    #: Attempts whose answers an earlier run met.
    earlier: frozenset[int]


class Came(NamedTuple):
    """What came of what was asked under this number."""

    number: int
    came: Reply | RawReply | BaseException


class Resize(NamedTuple):
    """Have so many files under way from now on."""

    files_each: int


class WhereIs(NamedTuple):
    """Tell where the hooks of a file are."""

    file_id: int


class AllDone(NamedTuple):
    """All is done."""


# A worker says


class WorkerReady(NamedTuple):
    """It has its hooks, and takes files."""


class WorkerRefused(NamedTuple):
    """It cannot work, and says why."""

    words: str


class CallAsked(NamedTuple):
    """A call is to be sent."""

    number: int
    id: CallId
    request: Request
    #: None: that of the run.
    policy: Policy | None


class Pass(NamedTuple):
    """Something is to be sent that is no call."""

    number: int
    exchange: HttpExchange


class Waits(NamedTuple):
    """The hooks of a file begin to wait, or go on."""

    file_id: int
    is_waiting: bool


class Staged(NamedTuple):
    """The hooks of a file have returned."""

    file_id: int
    signature: str
    outputs: tuple[OutputFile, ...]
    is_flat: bool
    #: Names of common files and lines for them.
    appended: list[tuple[str, str]]
    #: Calls that were answered by what was kept.
    replayed: int
    #: Whether what they wrote is to be thrown away.
    is_unwound: bool


class Failed(NamedTuple):
    """The hooks of a file have raised; None: an order to stop."""

    file_id: int
    failure: HookFailure | None
    replayed: int


class Logged(NamedTuple):
    """A log record, as its attributes."""

    record: Mapping[str, Any]


class Is(NamedTuple):
    """Where the hooks of a file are."""

    file_id: int
    stack: str
