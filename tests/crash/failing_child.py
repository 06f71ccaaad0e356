"""Run commands in forked children whose file operations fail; driven by lines of JSON.

    failing_child.py [SHIM]

A line asks for one run: {"argv": [...], "folder": ..., "at": N, "times": M, "errno": E, "kinds": K,
"log": path}. From the N-th operation of these kinds below the folder on, M of them fail (0: all).
`at` 0: none fails. The answer tells the exit status ("hangs": it was killed) and how many were
counted. Without SHIM, what Python itself does is made to fail, by its audit events.

{"rehearse": argv} runs a command without a fork, so that children find everything imported.
"""

import contextlib
import ctypes
import gc
import json
import os
import signal
import sys
import threading

from openai_parallel_toolkit.__main__ import main
from openai_parallel_toolkit.cli.dispatch import dispatch
from openai_parallel_toolkit.keys import close_default_managers

READS, WRITES, OPENS = 1, 2, 4
_LIMIT_S = 120
_EVENTS = {
    **dict.fromkeys(["os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.truncate"], WRITES),
    **dict.fromkeys(["os.link", "os.chmod", "os.utime"], WRITES),
    **dict.fromkeys(["os.listdir", "os.scandir"], READS | OPENS),
    "sqlite3.connect": OPENS | WRITES,
}


class Audit:
    """Fails what Python is about to do."""

    def __init__(self):
        self._lock = threading.Lock()
        self._seen = 0

    def arm(self, folder, at, times, number, kinds):
        def hook(event, args):
            kind = self._kind_of(event, args)
            if not kind & kinds or not self._is_below(folder, args[0]):
                return
            with self._lock:
                self._seen += 1
                is_due = at <= self._seen and (not times or self._seen < at + times)
            if is_due:
                raise OSError(number, os.strerror(number), args[0])

        if at:
            sys.addaudithook(hook)

    def counted(self):
        return self._seen

    @staticmethod
    def _kind_of(event, args):
        if event != "open":
            return _EVENTS.get(event, 0)
        is_writing = args[2] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR | os.O_TRUNC)
        return OPENS | (WRITES if is_writing else READS)

    @staticmethod
    def _is_below(folder, path):
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        # What is relative is told without its folder's descriptor; it is one of ours.
        return isinstance(path, str) and (path.startswith(folder) or not os.path.isabs(path))


class Shim:
    """Fails what the process asks of the system, SQLite's own operations as well."""

    def __init__(self, path):
        self._shim = ctypes.CDLL(path)

    def arm(self, folder, at, times, number, kinds):
        if at:
            numbers = ctypes.c_long(at), ctypes.c_long(times)
            self._shim.arm(os.fsencode(folder), *numbers, number, kinds)

    def counted(self):
        return self._shim.counted()


def run(failing, asked):
    """Run a command in a fork; return its exit status and how many operations it counted."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        sys.argv = ["openai-parallel-toolkit", *asked["argv"]]
        code = 99
        try:
            failing.arm(*(asked[name] for name in ("folder", "at", "times", "errno", "kinds")))
            code = main()
        finally:
            os.write(writing, str(failing.counted()).encode())
            os._exit(code)
    os.close(writing)
    timer = threading.Timer(_LIMIT_S, os.kill, (pid, signal.SIGKILL))
    timer.start()
    with os.fdopen(reading) as told:
        counted = told.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    timer.cancel()
    timer.join()
    return {"status": status if status >= 0 else "hangs", "counted": int(counted or 0)}


def rehearse(argv):
    """Run a command here, and leave nothing behind but what is imported; return its status."""
    with (
        open(os.devnull, "w") as nobody,
        contextlib.redirect_stdout(nobody),
        contextlib.redirect_stderr(nobody),
    ):
        status = dispatch(argv)
    close_default_managers()
    gc.collect()
    gc.freeze()  # what children do not write to is not copied for them
    return {"status": status, "threads": threading.active_count()}


if __name__ == "__main__":
    means = Shim(sys.argv[1]) if len(sys.argv) > 1 else Audit()
    for line in sys.stdin:
        asked = json.loads(line)
        told = rehearse(asked["rehearse"]) if "rehearse" in asked else run(means, asked)
        print(json.dumps(told), flush=True)
