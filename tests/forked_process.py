"""Processes that need no time for imports: forked off one that has the package imported."""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import socket
import struct
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import openai_parallel_toolkit

HERE = Path(__file__).parent
REPOSITORY = HERE.parent
PACKAGE = openai_parallel_toolkit.__name__
_NUMBER = struct.Struct("i")
_lock = threading.Lock()


class ForkedProcess(subprocess.Popen):
    """As Popen of `python ARGUMENTS`: "-W error" or not, and a script or "-m" and a module.

    What an interpreter reads before all else (PYTHONPATH, locale) is as in the tests, and
    `preexec_fn` is not called: where these matter, take Popen.
    """

    def __init__(self, arguments, **options):
        super().__init__([sys.executable, *map(str, arguments)], **options)

    def __exit__(self, kind, *more):
        if kind:  # else what went wrong waits for the process to end
            self.kill()
        super().__exit__(kind, *more)

    def _execute_child(self, args, *more):
        cwd, env, pipes = more[4], more[5], more[9:15]
        told = {"argv": args[1:], "cwd": str(cwd or os.getcwd()), "env": dict(env or os.environ)}
        raw = json.dumps(told).encode()
        given = [n if fd == -1 else fd for n, fd in enumerate((pipes[0], pipes[3], pipes[5]))]
        self._status, theirs = socket.socketpair()
        with theirs, _lock:
            try:
                _ask(raw, [theirs.fileno(), *given])
            except OSError:  # a signal to all of a group, perhaps, has ended it: there is a new one
                _forking.cache_clear()
                _ask(raw, [theirs.fileno(), *given])
        (self.pid,) = _NUMBER.unpack(self._status.recv(_NUMBER.size))
        self._child_created = True
        self._close_pipe_fds(*pipes)

    def _try_wait(self, wait_flags):
        try:
            raw = self._status.recv(_NUMBER.size, socket.MSG_DONTWAIT if wait_flags else 0)
        except BlockingIOError:
            return 0, 0
        self._status.close()
        return self.pid, *_NUMBER.unpack(raw)

    def _internal_poll(self, _deadstate=None):
        if self.returncode is None and self._waitpid_lock.acquire(blocking=False):
            try:
                pid, status = self._try_wait(os.WNOHANG)
                if pid:
                    self._handle_exitstatus(status)
            finally:
                self._waitpid_lock.release()
        return self.returncode


def run_forked(arguments, **options):
    """Run a ForkedProcess to its end, as subprocess.run does; its outputs are texts."""
    pipe = subprocess.PIPE
    with ForkedProcess(arguments, stdout=pipe, stderr=pipe, text=True, **options) as process:
        try:
            out, err = process.communicate(timeout=150)
        finally:
            process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def _ask(raw, fds):
    asks = _forking()
    socket.send_fds(asks, [_NUMBER.pack(len(raw))], fds)
    asks.sendall(raw)


@functools.cache
def _forking():
    """Start the process that forks, one for the whole session; return the socket to ask it by."""
    ours, theirs = socket.socketpair()
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG"))}
    with theirs:
        process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            env={**inherited, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(HERE)])},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    atexit.register(process.wait)
    atexit.register(ours.close)  # the last goes first
    return ours


# The process that forks


def import_all():
    """Import the package's modules, but for those on the openai package: few need it."""
    sys.modules["openai"] = None
    for found in pkgutil.walk_packages(openai_parallel_toolkit.__path__, f"{PACKAGE}."):
        if not found.name.endswith("__main__"):
            with contextlib.suppress(ImportError):
                importlib.import_module(found.name)
    del sys.modules["openai"]
    assert threading.active_count() == 1
    gc.collect()
    gc.freeze()


def serve(asks):
    """Fork whenever one asks; return in the fork, with what it shall run."""
    while True:
        raw, fds, *_ = socket.recv_fds(asks, _NUMBER.size, 4)
        if not raw:  # the tests are over
            sys.exit()
        told = json.loads(asks.recv(*_NUMBER.unpack(raw), socket.MSG_WAITALL))
        if os.fork() == 0:
            asks.close()
            wait_for_fork(*fds)
            return told
        for fd in fds:
            os.close(fd)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def wait_for_fork(status, *streams):
    """Fork; tell the fork's process id and its exit status, and end. The fork returns."""
    pid = os.fork()
    for number, fd in enumerate(streams):
        if pid == 0:
            os.dup2(fd, number)
        os.close(fd)
    if pid:
        os.write(status, _NUMBER.pack(pid))
        os.write(status, _NUMBER.pack(os.waitpid(pid, 0)[1]))
        os._exit(0)
    os.close(status)


def run(*, argv, cwd, env):
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    if argv[:2] == ["-W", "error"]:
        warnings.simplefilter("error")
        argv = argv[2:]
    is_module = argv[0] == "-m"
    sys.argv[:] = argv[is_module:]
    sys.path[0] = cwd if is_module else str(Path(argv[0]).parent)
    if is_module:
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(argv[0], run_name="__main__")


if __name__ == "__main__":
    import_all()
    try:
        told = serve(socket.socket(fileno=int(sys.argv[1])))
    except KeyboardInterrupt:  # meant for the tests
        sys.exit()
    run(**told)
