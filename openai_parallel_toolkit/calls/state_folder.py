"""The folder that holds what was paid for: private, local, and locked by whoever writes there."""

from __future__ import annotations

from contextlib import ExitStack

from ..core.clock import Clock
from ..core.filesystem import private_folder, refuse_network
from ..files.run_lock import RunLock
from ..journal import Journal


def lock_folder(path: str, stack: ExitStack, clock: Clock) -> str:
    """Make a private folder on a local disk and lock it until `stack` is closed; return `path`.

    Raises:
        RunLocked: another process works with it.
        StorageError: the disk refused, or another host could write there as well.
    """
    refuse_network(private_folder(path))
    lock = RunLock(path, clock=clock)
    lock.acquire()
    stack.callback(lock.release)
    return path


def open_journal(path: str, stack: ExitStack, clock: Clock) -> Journal:
    """Lock a folder as `lock_folder` does, and open the journal in it until `stack` is closed.

    Raises:
        JournalError: it is damaged, or of another version.
    """
    journal = Journal.open(lock_folder(path, stack, clock), clock=clock)
    stack.callback(journal.close)
    return journal
