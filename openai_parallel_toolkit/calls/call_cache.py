"""The folder that holds what was paid for, and the answers of calls that belong to no file."""

from __future__ import annotations

import atexit
import dataclasses
import os
from contextlib import ExitStack

from ..core.clock import Clock, SystemClock
from ..core.filesystem import refuse_network
from ..core.own_files import private_folder
from ..files.run_lock import RunLock, state_folder_of
from ..journal import Journal
from .file_calls import FileCalls
from .submitter import CallSubmitter

#: What stands for the file in the journal; its calls are shown under this name.
CALLS = "(calls)"


def lock_folder(path: str, stack: ExitStack, clock: Clock) -> str:
    """Make a private folder on a local disk and lock it until `stack` is closed; return `path`."""
    refuse_network(private_folder(path, may_be_link=True))
    lock = RunLock(path, clock=clock)
    lock.acquire()
    stack.callback(lock.release)
    return path


def open_journal(path: str, stack: ExitStack, clock: Clock) -> Journal:
    """Lock a folder as `lock_folder` does, and open the journal in it until `stack` is closed."""
    journal = Journal.open(lock_folder(path, stack, clock), clock=clock)
    stack.callback(journal.close)
    return journal


class CallCache:
    """A journal for calls outside any toolkit, and the FileCalls that count them.

    It is open, and locked against other processes, until its sender is closed or the process ends.
    """

    def __init__(self, sender: CallSubmitter, folder: str) -> None:
        self._pid = os.getpid()
        with ExitStack() as stack:
            journal = open_journal(state_folder_of(folder), stack, SystemClock())
            file_id = journal.file(CALLS).id
            journal.begin_run(hooks_version="")
            journal.write_on(sender.calls)
            self.file_calls = FileCalls(
                sender=sender,
                context=dataclasses.replace(sender.untracked_context, journal=journal),
                file_id=file_id,
                answers=journal.answers(file_id),
                is_earlier=journal.is_earlier,
            )
            self._journal = journal
            self._stack = stack.pop_all()
        atexit.register(self.close)

    @classmethod
    def of(cls, sender: CallSubmitter, folder: str | os.PathLike[str]) -> CallCache:
        """Return the sender's journal in a folder, opened when first asked for."""
        place = os.path.realpath(folder)
        return sender.resource(place, lambda: cls(sender, place))

    def close(self) -> None:
        atexit.unregister(self.close)
        if self._pid == os.getpid():  # a forked child has copies, which are not its own to close
            with self._stack.pop_all():
                self._journal.end_run("finished", {})
