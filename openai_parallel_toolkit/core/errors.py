"""Every error that a user of the toolkit can meet.

ToolkitError
├─ ConfigError              a setting cannot be used
├─ UsageError               the toolkit was called in a way that cannot work
├─ ScanError                the input folder cannot be worked on
│  └─ SharedOutput          two inputs would write the same output
├─ RunLocked                another process works on this output folder
├─ NoUsableKey              no key can ever serve the request
├─ LeaseTimeout             no key came free in time
├─ BudgetExceeded           the money that was allowed is spent
├─ VocabularyMissing        tokens cannot be counted offline
├─ RequestFailed            a request got no usable answer
│  ├─ RequestRejected       the provider will never accept it
│  ├─ OutcomeUnknown        sent, but no whole reply came back
│  ├─ IncompleteAnswer      the answer was cut short, failed or is empty
│  └─ InvalidAnswer         the answer is not the JSON that was asked for
├─ FilesFailed              files failed, more than fail_on_error allows
├─ UnsafePath               an output would leave the output folder
├─ OutputConflict           two files wrote the same output
├─ StorageError             the disk refused
├─ OutOfResources           the system gives no more threads or memory
└─ JournalError             the journal is damaged or of another version

A class's docstring is its default message; where it has more lines, the first one is. Errors carry
data, not only prose, and survive pickling.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from decimal import Decimal
from typing import Any

from .describe import attribute_of, cause_of, is_a
from .records import OutcomeKind, RawReply
from .text import visible


@dataclass(eq=False, repr=False)
class ToolkitError(RuntimeError):
    """Something went wrong in openai_parallel_toolkit."""

    message: str = ""
    _: KW_ONLY
    #: The summary of the work that it ended: RunSummary, PromptsSummary or BatchFolderSummary.
    summary: Any = None

    #: Exit status of the command line for this error.
    exit_code = 2

    def __post_init__(self) -> None:
        self.message = self.message or (type(self).__doc__ or "").partition("\n")[0].strip()
        self.args = (visible(self.message),)

    def _render_traceback_(self) -> list[str]:
        """Show one line in a notebook, where IPython asks for it.

        Source: https://ipython.readthedocs.io/en/stable/config/integrating.html (read 2026-11)
        """
        return [f"{type(self).__name__}: {self}"]


@dataclass(kw_only=True, eq=False, repr=False)
class ConfigError(ToolkitError):
    """The configuration cannot be used."""

    #: Where it stands: a file, a variable of the environment or an argument; "" when it is none.
    source: str = ""
    #: The field within it, such as "keys[0].rpm".
    field: str = ""
    #: The model that is missing in it or too small.
    model: str = ""


@dataclass(kw_only=True, eq=False, repr=False)
class UsageError(ToolkitError):
    """The toolkit was called in a way that cannot work."""

    #: The file that it is about.
    path: str = ""
    #: The key's name.
    key_name: str = ""
    #: Index of the request in the list.
    position: int | None = None
    #: What to write instead.
    replacement: str = ""


@dataclass(kw_only=True, eq=False, repr=False)
class ScanError(ToolkitError):
    """The input folder cannot be worked on."""

    #: The file or folder that it is about.
    path: str = ""


@dataclass(kw_only=True, eq=False, repr=False)
class SharedOutput(ScanError):
    """Two inputs would write the same output; set output_names="whole" or rename one."""

    #: The paths of both.
    inputs: tuple[str, ...] = ()


@dataclass(kw_only=True, eq=False, repr=False)
class RunLocked(ToolkitError):
    """Another process works on this output folder; wait for it or stop it."""

    #: Which one it is, on which machine and since when (ISO 8601, UTC); None: not known.
    pid: int | None = None
    host: str | None = None
    since: str | None = None

    exit_code = 3


@dataclass(kw_only=True, eq=False, repr=False)
class NoUsableKey(ToolkitError):
    """No key can serve the request; add a key or top one up, then run again."""

    #: Why each key, by its name, cannot.
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: The only key that could, where there is one.
    key_name: str = ""

    exit_code = 4


class LeaseTimeout(ToolkitError):
    """No key came free in time; allow more time or add keys."""

    exit_code = 4


@dataclass(kw_only=True, eq=False, repr=False)
class BudgetExceeded(ToolkitError):
    """The money that was allowed is spent; raise max_cost to go on."""

    #: What is allowed, what is spent, and what the request could have cost, in USD.
    cap_usd: Decimal = Decimal(0)
    spent_usd: Decimal = Decimal(0)
    wanted_usd: Decimal = Decimal(0)

    exit_code = 6


@dataclass(kw_only=True, eq=False, repr=False)
class VocabularyMissing(ToolkitError):
    """A vocabulary of tiktoken's is not on this machine; install the extra [offline]."""

    encoding: str = ""
    #: Where it can be fetched, and the name that tiktoken looks for.
    url: str = ""
    file_name: str = ""


@dataclass(kw_only=True, eq=False, repr=False)
class RequestFailed(ToolkitError):
    """A request got no usable answer; run again to ask again."""

    #: How the last attempt ended.
    outcome: OutcomeKind = OutcomeKind.UNKNOWN
    #: The provider's error code, or a short word of ours; "" when there is none.
    code: str = ""
    #: HTTP status of the last attempt; None: no reply came.
    status: int | None = None
    #: How many were sent; 0: not counted, because an answer came.
    attempts: int = 0
    #: How many of them the provider may have billed although no answer arrived.
    maybe_billed: int = 0
    #: The provider's id of the last attempt; None: it gave none.
    request_id: str | None = None
    #: The provider's last reply, without secrets; None: none came, or an answer.
    reply: RawReply | None = None

    exit_code = 1


class RequestRejected(RequestFailed):
    """The provider will never accept this request; change it."""


class OutcomeUnknown(RequestFailed):
    """The request was sent, but no whole reply came back; it may have been billed."""


@dataclass(kw_only=True, eq=False, repr=False)
class IncompleteAnswer(RequestFailed):
    """The answer was cut short or is of no use; raise its length limit, or run again."""

    outcome: OutcomeKind = OutcomeKind.UNUSABLE
    #: What came.
    text: str = ""
    finish_reason: str | None = None


@dataclass(kw_only=True, eq=False, repr=False)
class InvalidAnswer(RequestFailed):
    """The answer is not the JSON that was asked for; make the prompt or the format clearer."""

    outcome: OutcomeKind = OutcomeKind.OK
    #: What came last.
    text: str = ""
    #: What is wrong with it.
    reason: str = ""


class FilesFailed(ToolkitError):
    """Files failed, more than fail_on_error allows; see the failures file, then run again."""

    exit_code = 1


@dataclass(kw_only=True, eq=False, repr=False)
class UnsafePath(ToolkitError):
    """An output would leave the output folder; write only below the path the hook was given."""

    path: str = ""


@dataclass(kw_only=True, eq=False, repr=False)
class OutputConflict(ToolkitError):
    """Two files wrote the same output; give each its own name."""

    #: The output.
    path: str = ""
    #: The input that it belongs to; "": not known.
    owner: str = ""


@dataclass(kw_only=True, eq=False, repr=False)
class StorageError(ToolkitError):
    """The disk refused; free space or mend permissions and run again: nothing paid for is lost."""

    errno: int | None = None
    path: str = ""

    exit_code = 5


class OutOfResources(ToolkitError):
    """The system gives this process no more threads or memory; allow more and run again.

    Limits are the user's (`ulimit -u`, `ulimit -v`) and the container's (pids, memory).
    """

    exit_code = 5


@dataclass(kw_only=True, eq=False, repr=False)
class JournalError(ToolkitError):
    """The journal cannot be read; run the command `repair` on the output folder."""

    path: str = ""
    #: Version of the journal's schema, where that is the trouble.
    version: int | None = None
    #: The attempt whose row is damaged.
    attempt_id: int | None = None

    exit_code = 5


#: Of a response that a client of the user's own gets, where the error stands that it tells of.
RESPONSE_EXTENSION = "openai_parallel_toolkit"


def error_behind(exc: BaseException | None) -> ToolkitError | None:
    """Return the error of ours that another package's tells of, or itself; None: there is none."""
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        if is_a(exc, ToolkitError):
            return exc
        seen.add(id(exc))
        told = attribute_of(attribute_of(exc, "response"), "extensions")
        found = dict.get(told, RESPONSE_EXTENSION) if is_a(told, dict) else None
        exc = found if is_a(found, ToolkitError) else cause_of(exc)
    return None


class HookUnwound(BaseException):
    """Control flow: takes a hook down without being an error. Hooks must let it pass.

    Derived from BaseException so that a hook's `except Exception` does not swallow it.
    """


class RunStopping(HookUnwound):
    """Control flow: the run was told to stop, so nothing more is sent for this file now."""


class NotAnsweredYet(HookUnwound):
    """Control flow: the answer is not in the journal and nothing may be sent at this moment."""


class RunStopped(SystemExit, KeyboardInterrupt):
    """The run was stopped by a signal, in good order: run again to go on.

    `code` is 128 + the signal's number, `summary` the RunSummary up to here. It is both a
    SystemExit (a script that does not catch it ends quietly with that status) and a
    KeyboardInterrupt (code that expects Ctrl-C sees one).
    """

    def __init__(self, code: int, summary: Any = None) -> None:
        super().__init__(code)
        self.summary = summary
