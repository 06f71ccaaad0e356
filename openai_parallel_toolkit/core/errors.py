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
├─ RequestFailed            a request got no usable answer
│  ├─ RequestRejected       the provider will never accept it
│  ├─ OutcomeUnknown        sent, but no whole reply came back
│  ├─ IncompleteAnswer      the answer was cut short
│  └─ InvalidAnswer         the answer is not the JSON that was asked for
├─ FilesFailed              more files failed than fail_on_error allows
├─ UnsafePath               an output would leave the output folder
├─ OutputConflict           two files wrote the same output
├─ StorageError             the disk refused
└─ JournalError             the journal is damaged or of another version

A class's docstring is its default message. Errors carry data, not only prose, and survive pickling.
"""

from __future__ import annotations

from typing import Any


class ToolkitError(Exception):
    """Something went wrong in openai_parallel_toolkit."""

    #: Exit status of the command line for this error.
    exit_code = 2

    def __init__(self, message: str | None = None, **facts: Any) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.facts = facts
        super().__init__(self.message)

    def __getattr__(self, name: str) -> Any:
        facts = self.__dict__.get("facts", {})
        if name in facts:
            return facts[name]
        raise AttributeError(f"{type(self).__name__} has no fact named {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.facts)


def _rebuild(kind: type[ToolkitError], message: str, facts: dict[str, Any]) -> ToolkitError:
    return kind(message, **facts)


class ConfigError(ToolkitError):
    """The configuration cannot be used."""


class UsageError(ToolkitError):
    """The toolkit was called in a way that cannot work."""


class ScanError(ToolkitError):
    """The input folder cannot be worked on."""


class SharedOutput(ScanError):
    """Two inputs would write the same output; set output_names="whole" or rename one."""


class RunLocked(ToolkitError):
    """Another process works on this output folder; wait for it or stop it."""

    exit_code = 3


class NoUsableKey(ToolkitError):
    """No key can serve the request; add a key or top one up, then run again."""

    exit_code = 4


class LeaseTimeout(ToolkitError):
    """No key came free in time; allow more time or add keys."""

    exit_code = 4


class BudgetExceeded(ToolkitError):
    """The money that was allowed is spent; raise max_cost to go on."""

    exit_code = 6


class RequestFailed(ToolkitError):
    """A request got no usable answer; run again to ask again.

    Facts: `outcome` (kind of the last attempt), `attempts` (how many were sent), `maybe_billed`
    (how many of them the provider may have billed although no answer arrived).
    """

    exit_code = 1


class RequestRejected(RequestFailed):
    """The provider will never accept this request; change it."""


class OutcomeUnknown(RequestFailed):
    """The request was sent, but no whole reply came back; it may have been billed."""


class IncompleteAnswer(RequestFailed):
    """The answer was cut short; raise its length limit or pass allow_incomplete=True.

    Facts: `text` (what came), `finish_reason`.
    """


class InvalidAnswer(RequestFailed):
    """The answer is not the JSON that was asked for; make the prompt or the format clearer.

    Facts: `text` (what came last), `reason`.
    """


class FilesFailed(ToolkitError):
    """More files failed than fail_on_error allows; see the failures file, then run again."""

    exit_code = 1


class UnsafePath(ToolkitError):
    """An output would leave the output folder; write only below the path the hook was given."""


class OutputConflict(ToolkitError):
    """Two files wrote the same output; give each its own name."""


class StorageError(ToolkitError):
    """The disk refused; free space or mend permissions, then run again: nothing paid for is lost.

    Facts: `errno`, `path`.
    """

    exit_code = 5


class JournalError(ToolkitError):
    """The journal cannot be read; run the command `repair` on the output folder."""

    exit_code = 5


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
