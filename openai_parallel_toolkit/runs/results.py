"""Count what came of the files of a run, and list what failed."""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ..calls.run_context import StopToken
from ..core.errors import FilesFailed
from ..core.filesystem import new_file
from ..core.records import FailureNote
from ..core.text import counted
from ..files.output_tree import OutputTree
from ..files.publish import Finished
from ..files.remarks import BLANK_OUTPUTS, STAGING_NAMES, STRAY_OUTPUTS, WROTE_NOTHING, Remarks
from ..journal import Journal
from .causes import FailureCauses
from .options import RunOptions


def json_line(told: object) -> bytes:
    """Return a value as one line of JSON."""
    try:
        return json.dumps(told, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # half a character, which only its escape can say
        return json.dumps(told).encode() + b"\n"


class FailuresFile:
    """One JSON line per failure, as they come; the file is made at the first one.

    Not safe for several threads.
    """

    def __init__(self, path: str, *, mode: int = 0o666) -> None:
        """Begin anew: the file of an earlier run is removed."""
        self.path = path
        self.count = 0
        self._mode = mode
        self.causes = FailureCauses()
        with suppress(FileNotFoundError):
            os.unlink(path)

    def add(self, kind: str, message: str, told: Mapping[str, Any]) -> int:
        """Append what is told of a failure, and return where it stands in the file."""
        with open(self.path, "ab", opener=self._open) as out:
            where = out.tell()
            out.write(json_line(told))
        self.count += 1
        self.causes.add(kind, message, str(told.get("file", told.get("line", ""))))
        return where

    def at(self, where: int) -> dict[str, Any]:
        """Return what was told of the failure that stands there."""
        with open(self.path, "rb") as file:
            file.seek(where)
            told: dict[str, Any] = json.loads(file.readline())
        return told

    def _open(self, path: str, flags: int) -> int:
        if not self.count:
            return new_file(path, flags, self._mode)
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, self._mode)


class FileResults:
    """Counts the files that were done and that failed, and stops the run at too many failures.

    One lock guards the counts and the list of failures.
    """

    def __init__(
        self, failures_path: str, stop: StopToken, options: RunOptions, due: int, remarks: Remarks
    ) -> None:
        """Begin to count; `due` files are to be worked on."""
        self.remarks = remarks
        #: Files of this run.
        self._wrote_nothing = 0
        self._log_file = options.log_file and os.path.realpath(options.log_file)
        self.failures = FailuresFile(failures_path, mode=0o600)
        self._stop = stop
        self._fail_on_error = options.fail_on_error
        self._allowed = options.failures_allowed(due)
        self._lock = threading.Lock()
        self._done = 0

    def add_done(self) -> None:
        """Count a file whose outputs are in their places."""
        with self._lock:
            self._done += 1

    def add_remarks(self, file: Finished, token: str) -> None:
        """Remark on what is odd about what a file's hooks wrote; `token` is that of the staging."""
        outputs, path = file.outputs, file.path
        self._wrote_nothing += not outputs and not file.lines
        self.remarks.add(WROTE_NOTHING, path, not outputs and not file.lines)
        self.remarks.add(BLANK_OUTPUTS, path, sum(output.is_blank for output in outputs))
        names = [output.names_staging for output in outputs]
        names += [token in line for _, line in file.lines or ()]
        self.remarks.add(STAGING_NAMES, path, sum(names))

    def remark_strays(self, tree: OutputTree, journal: Journal) -> None:
        """Remark on files that hooks which wrote no output have written past the toolkit."""
        run = journal.last_run()
        if not self._wrote_nothing or run is None:
            return
        for name in tree.names_in(""):
            seen = tree.seen(name)
            is_new = seen is not None and run.started_wall_s <= seen.since_wall_s < math.inf
            is_own = name.startswith(".") or tree.path_of(name) == self._log_file
            if is_new and not is_own and journal.owner_of_output(name) is None:
                self.remarks.add(STRAY_OUTPUTS, name)

    def add_failed(self, path: str, note: FailureNote) -> None:
        """Count and list a file that failed."""
        told = {"file": path, "kind": note.kind, "message": note.message, "trace": note.trace}
        with self._lock:
            self.failures.add(note.kind, note.message, told)
            failed = self.failures.count
        if failed > self._allowed:
            message = (
                f"{counted(failed, 'file')} failed, more than fail_on_error={self._fail_on_error} "
                f"allows; see {self.failures.path}"
            )
            self._stop.close(FilesFailed(message))

    def counts(self) -> tuple[int, int]:
        """Return how many files are done and how many failed."""
        with self._lock:
            return self._done, self.failures.count
