"""What a run over a folder has on the disk besides, opened in the order that a crash demands."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack

from ..core.clock import SystemClock
from ..core.errors import StorageError
from ..core.file_kinds import is_folder
from ..core.filesystem import free_bytes, name_key
from ..core.logs import logger_of
from ..core.records import FailureNote, OutputFile, Record
from ..core.text import counted
from ..files.in_progress import InProgressFiles
from ..files.match import Layout, Selection
from ..files.plan import Plan
from ..files.publish import roll_forward
from ..files.run_folders import open_inputs, open_outputs
from ..files.run_lock import state_folder_of
from ..files.scan import scan
from ..files.staging import Staging
from ..journal import FileRecord
from ..journal.reserve import set_aside_bytes
from ..keys import APIKeyManager
from .options import RunOptions
from .session import RunSession

logger = logger_of(__name__)

FAILURES_FILE = "failures.jsonl"
#: Endings of outputs that are looked for.
_MOST_SUFFIXES = 8
#: Notes of a scan that may wait for the journal.
_MOST_QUEUED = 10_000

_REFUSE_BELOW_BYTES = 16 * 1024 * 1024
_WARN_BELOW_BYTES = 512 * 1024 * 1024


class FolderSession(RunSession):
    """The session of a run over a folder: inputs, outputs, staging, and who is under way.

    Entering also finishes what an earlier run had begun to publish, and finds the suspects of an
    unexplained death.
    """

    def __init__(self, layout: Layout, options: RunOptions, keys: APIKeyManager) -> None:
        super().__init__(
            state_folder_of(layout.output_root, options.state_path),
            keys,
            clock=SystemClock(),
            policy=options.policy,
            max_cost=options.max_cost,
            grace_s=options.grace_s,
            log_file=options.log_file,
            prints=options.progress,
            keep_requests=options.keep_requests,
        )
        self.layout = layout
        #: Where this run lists its failures.
        self.failures_path = os.path.join(self.state_folder, FAILURES_FILE)
        self._hooks_version = ""
        #: Files that hooks of another version had put aside.
        self._edited = 0
        self._is_dry = options.dry_run
        #: Notes of the scan for the journal.
        self._queued = 0
        #: Files that may have killed the last run; each runs alone.
        self.suspects: list[str] = []

    def _open(self, stack: ExitStack) -> None:
        if self.layout.output_url is not None:
            level = logging.INFO if is_folder(self.state_folder) else logging.WARNING
            logger.log(
                level,
                "what was paid for on the way to %s is kept in %s: keep that folder, and run on "
                "this machine again",
                self.layout.output_url,
                self.state_folder,
            )
        _make_folder(self.layout.output_root, self.state_folder)
        super()._open(stack)
        self.staging = Staging(self.layout.output_root, self.state_folder)
        stack.callback(self.staging.close)
        #: Gives equal results for names that the outputs' file system takes for the same.
        self.name_key = name_key(self.staging.root)
        own = [self.keys.settings.source, self._log_file or ""]
        self.inputs = stack.enter_context(open_inputs(self.layout, self.state_folder, own))
        self.tree = stack.enter_context(
            open_outputs(self.layout, self.state_folder, self.staging.root)
        )
        roll_forward(self.journal, self.staging, self.tree)
        self.register = InProgressFiles(os.path.join(self.state_folder, "open-files"))
        stack.callback(self.register.close)
        self._find_suspects()

    def plan(self, selection: Selection, hooks_version: str) -> Plan:
        """Find what is to do; what other hooks had put aside is due again."""
        self._hooks_version, self._edited = hooks_version, 0
        plan = scan(
            self.layout,
            selection,
            state_folder=self.state_folder,
            states=self,
            key=self.name_key,
            inputs=self.inputs,
            outputs=self.tree,
        )
        if self._edited and not selection.retry_failed:
            logger.warning(
                "%s had been put aside and will be tried again: the hooks were edited since",
                counted(self._edited, "file"),
            )
        return plan

    def only_output(self) -> str:
        """Return where the output of a single input is; "" for a folder, or not just one output."""
        only = self.layout.only
        record = None if only is None else self.journal.known(only)
        outputs = () if record is None else self.journal.outputs(record.id)
        return self.layout.output_at(outputs[0].final) if len(outputs) == 1 else ""

    def records_in(self, folder: str) -> Iterator[Record]:
        """Yield what is known of the files in a folder that were ever started."""
        return self.journal.files_in(folder)

    def is_let_go(self, record: Record) -> bool:
        """Whether a file that was put aside is due again: its hooks were edited since."""
        is_edited = record.hooks_version not in (None, self._hooks_version)
        self._edited += is_edited
        return is_edited

    def owner_of_output(self, final: str) -> int | None:
        """Return the id of the file whose intents listed this output; None: nobody's."""
        return self.journal.owner_of_output(final)

    def last_wall_s(self) -> float:
        """Return the newest time that the journal knows of; 0: it is new."""
        return self.journal.last_wall_s()

    def suffixes(self) -> set[str]:
        """Return what hooks added to the path they were given, where `splitext` cannot tell."""
        ends = set()
        for record in self.journal.some_done():
            base = self.layout.without_ext(record.path)
            for final in record.finals:
                if final.startswith(base) and os.path.splitext(final)[0] != base:
                    ends.add(final[len(base) :])
        return set(sorted(ends)[:_MOST_SUFFIXES])

    def count_as_done(self, path: str, outputs: list[OutputFile], signature: str | None) -> None:
        """Note that a file is done: its outputs are there, made by no run that is known."""
        if not self._is_dry:
            self.journal.count_as_done(path, outputs, signature)
            self._queued_one()

    def renew_signature(self, file_id: int, signature: str) -> None:
        """Note that the unchanged input of a file that is done looks otherwise now."""
        if not self._is_dry:
            self.journal.renew_signature(file_id, signature)
            self._queued_one()

    def _queued_one(self) -> None:
        """Let the journal's writer keep up with a scan of millions."""
        self._queued += 1
        if self._queued % _MOST_QUEUED == 0:
            self.journal.flush()

    def _find_suspects(self) -> None:
        """Find the files that may have killed the last run, and put aside the one that did.

        Suspects are those whose hooks were in their own code, not waiting in a call, and had
        gained no answer. The one that ran alone when the process died again is the killer.
        """
        left = self.register.read_back()
        self.register.clear()
        for file in left if self.journal.last_run_died() else ():
            if file.in_call:
                continue
            record = self.journal.file(file.path)
            if record.state is None:  # the process died before this was on the disk
                self.journal.opened(record.id)
            if self.journal.last_run_answered(record.id):
                self.journal.clear_suspect(record.id)
            elif file.alone and record.is_suspect:
                self._put_aside(record)
            else:
                self.journal.mark_suspects([record.id])
        self.journal.flush()
        self.suspects = [record.path for record in self.journal.suspects()]

    def _put_aside(self, record: FileRecord) -> None:
        note = FailureNote(
            kind="ProcessDied",
            message="the process died twice while this file's hooks ran, the second time with "
            "nothing else running; mend the hook or the file, then use retry_failed "
            "(--retry-failed)",
        )
        self.journal.put_aside(record.id, note)
        logger.warning("%s is put aside: %s", record.path, note.message)


def _make_folder(output_root: str, state_folder: str) -> None:
    try:
        if not is_folder(output_root):
            os.makedirs(output_root, exist_ok=True)
    except OSError as exc:
        raise StorageError(
            f"{exc.filename}: {exc.strerror}; choose an output_path that can be written to",
            errno=exc.errno,
            path=exc.filename,
        ) from exc
    free = free_bytes(output_root) + set_aside_bytes(state_folder)
    if free < _REFUSE_BELOW_BYTES:
        raise StorageError(
            f"only {free:,} bytes are free under {output_root}; free some space first",
            path=output_root,
        )
    if free < _WARN_BELOW_BYTES:
        logger.warning("only %.0f MB are free under %s", free / 1e6, output_root)
