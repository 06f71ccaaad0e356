"""The lines that got no answer, in a file of their own, where their turn finds them again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from typing import IO

from ...core.errors import RequestFailed, ToolkitError
from ...runs.report import Reasons
from .lines import Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
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
    def of(cls, error: ToolkitError, clean: Callable[[str], str]) -> Failure:
        """Return what an error says; `clean` takes secrets out of its words."""
        failed = error if isinstance(error, RequestFailed) else RequestFailed()
        return cls(
            kind=type(error).__name__,
            message=clean(error.message),
            code=failed.code,
            status=failed.status,
            maybe_billed=failed.maybe_billed,
        )


_NAMES = tuple(field.name for field in fields(Failure))


class FailedLines:
    """One JSON line per failed line, as they fail; the file is made at the first one.

    Failures stay on the disk alone: `add` tells where, `at` reads it back.
    """

    def __init__(self, path: str) -> None:
        """Begin anew: the file of an earlier run is removed."""
        self.path = path
        self.count = 0
        self.reasons = Reasons()
        self._file: IO[bytes] | None = None
        with suppress(FileNotFoundError):
            os.unlink(path)

    def add(self, line: Line, failure: Failure) -> int:
        """Append one failure and return where it stands."""
        if self._file is None:
            self._file = open(self.path, "w+b")  # noqa: SIM115 - closed in close()
        where = self._file.seek(0, os.SEEK_END)
        told = {"line": line.number, **line.ids, **asdict(failure)}
        # Plain ASCII: an id may hold half a character.
        self._file.write(json.dumps(told).encode() + b"\n")
        self._file.flush()
        self.count += 1
        self.reasons.add(failure.kind, failure.message)
        return where

    def at(self, where: int) -> Failure:
        """Return the failure that was added there."""
        assert self._file is not None
        self._file.seek(where)
        told = json.loads(self._file.readline())
        return Failure(**{name: told[name] for name in _NAMES})

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
