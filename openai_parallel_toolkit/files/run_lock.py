"""Let one process at a time work on an output folder, by a lock that the kernel holds."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from contextlib import suppress
from datetime import datetime, timezone

from filelock import FileLock, Timeout

from ..core.clock import Clock, SystemClock
from ..core.errors import RunLocked
from ..core.filesystem import atomic_file, closing_fd, storage_error

#: Kept inside the output folder unless the user says otherwise.
STATE_FOLDER = ".openai_parallel_toolkit"
#: Long enough for the holder to have written who it is.
_TIMEOUT_S = 0.25
_POLL_S = 0.02


def state_folder_of(output_root: str, state_path: str | None = None) -> str:
    """Return the absolute path of the folder that holds the journal and the lock."""
    return os.path.abspath(state_path or os.path.join(output_root, STATE_FOLDER))


class RunLock:
    """The right to work on one output folder; gone with its process, however that ends.

    A child made by fork does not share it.
    """

    def __init__(self, state_folder: str, *, clock: Clock | None = None) -> None:
        """Prepare the lock; `state_folder` must exist."""
        self._clock = clock or SystemClock()
        self._path = os.path.join(state_folder, "run.lock")
        self._lock = FileLock(self._path, thread_local=False)
        self._holder = os.path.join(state_folder, "run.json")

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            RunLocked: another process holds it; its `pid`, `host` and `since` (ISO 8601, UTC),
                each None when the holder did not say.
            StorageError: the folder cannot be written to.
        """
        try:
            self._lock.acquire(timeout=_TIMEOUT_S, poll_interval=_POLL_S)
            self._say_who()
        except Timeout as exc:
            raise self._locked() from exc
        except OSError as exc:
            self._let_go()
            raise storage_error(exc, self._path) from exc

    def release(self) -> None:
        """Give the lock back; what is left to say who held it does no harm."""
        with suppress(OSError):
            os.unlink(self._holder)
        self._let_go()

    def _let_go(self) -> None:
        with suppress(OSError):  # the kernel takes it back at the latest when the process ends
            self._lock.release()

    def holder(self) -> RunLocked | None:
        """Return who holds the lock now; None: nobody does.

        Looks without taking the lock: a shared one for an instant, which a run that starts at that
        moment waits for.
        """
        try:
            with closing_fd(os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)) as fd:
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return None
        except BlockingIOError:
            return self._locked()
        except OSError as exc:
            raise storage_error(exc, self._path) from exc
        return None

    def _say_who(self) -> None:
        since = datetime.fromtimestamp(self._clock.wall_s(), timezone.utc)
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": since.isoformat(timespec="seconds"),
        }
        quickly = atomic_file(self._holder, mode=0o600, is_durable=False)
        with quickly as part, open(part, "w", encoding="utf-8") as file:
            json.dump(holder, file)

    def _locked(self) -> RunLocked:
        pid = host = since = None
        who = "Another process"
        with suppress(OSError, ValueError, KeyError, TypeError):
            with open(self._holder, encoding="utf-8") as file:
                holder = json.load(file)
            told = int(holder["pid"]), str(holder["host"]), str(holder["since"])
            if told[1] != socket.gethostname() or _is_alive(told[0]):
                pid, host, since = told
                who = f"Process {pid} on {host}, since {since},"
        return RunLocked(
            f"{who} works on this output folder; wait for it or stop it.",
            pid=pid,
            host=host,
            since=since,
        )


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
