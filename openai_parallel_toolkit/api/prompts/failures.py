"""The lines that got no answer, in a file of their own, where their turn finds them again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields

from ...core.errors import RequestFailed, ToolkitError
from ...runs.results import FailuresFile
from .lines import PromptLine


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFailure:
    """Why a line got no answer; holds no secret."""

    #: Class name of the error.
    kind: str
    message: str
    #: The provider's error code, or a short word of ours; "" when there is none.
    code: str = ""
    #: HTTP status; None: no reply came.
    status: int | None = None
    #: Attempts that may have been billed although no answer came.
    maybe_billed: int = 0

    @classmethod
    def of(cls, error: ToolkitError, clean: Callable[[str], str]) -> LineFailure:
        """Return what an error says; `clean` takes secrets out of its words."""
        failed = error if isinstance(error, RequestFailed) else RequestFailed()
        return cls(
            kind=type(error).__name__,
            message=clean(error.message),
            code=failed.code,
            status=failed.status,
            maybe_billed=failed.maybe_billed,
        )


_NAMES = tuple(field.name for field in fields(LineFailure))


class FailedLines(FailuresFile):
    """The failed lines of a run; they stay on the disk alone."""

    def add_line(self, line: PromptLine, failure: LineFailure) -> int:
        """Append one failure and return where it stands."""
        told = {"line": line.number, **line.ids, **asdict(failure)}
        return self.add(failure.kind, failure.message, told)

    def failure_at(self, where: int) -> LineFailure:
        """Return the failure that was added there."""
        told = self.at(where)
        return LineFailure(**{name: told[name] for name in _NAMES})
