"""Keep the answers of calls that belong to no file, in a folder that the caller names."""

from __future__ import annotations

import atexit
import dataclasses
import os
from contextlib import ExitStack

from ..core.clock import SystemClock
from ..files.run_lock import state_folder_of
from .file_calls import FileCalls
from .sender import Sender
from .state_folder import open_journal

#: What stands for the file in the journal; its calls are shown under this name.
CALLS = "(calls)"


class CallCache:
    """A journal for calls outside any toolkit, and the FileCalls that count them.

    It is open, and locked against other processes, until its sender is closed or the process ends.
    """

    def __init__(self, sender: Sender, folder: str) -> None:
        self._pid = os.getpid()
        with ExitStack() as stack:
            self._journal = open_journal(state_folder_of(folder), stack, SystemClock())
            self.file_calls = self._begin(sender)
            self._stack = stack.pop_all()
        atexit.register(self.close)

    @classmethod
    def of(cls, sender: Sender, folder: str | os.PathLike[str]) -> CallCache:
        """Return the sender's journal in a folder, opened when first asked for.

        Raises:
            RunLocked: another process has it open, or this one under other keys.
            StorageError: the disk refused.
        """
        place = os.path.realpath(folder)
        return sender.resources.get(place, lambda: cls(sender, place))

    def _begin(self, sender: Sender) -> FileCalls:
        file_id = self._journal.file(CALLS).id
        self._journal.begin_run(hooks_version="")
        return FileCalls(
            sender=sender,
            context=dataclasses.replace(sender.untracked_context, journal=self._journal),
            file_id=file_id,
            answers=self._journal.answers(file_id),
        )

    def close(self) -> None:
        """Make durable what is queued, and let go of the journal and its lock."""
        atexit.unregister(self.close)
        if self._pid == os.getpid():  # a forked child has copies, which are not its own to close
            with self._stack.pop_all():
                self._journal.end_run("finished", {})
