"""Runs BatchFolders in forked children, each killed at another step and then run again.

    folder_crash_child.py ROOT CONFIG STEP     kill at step 1, 1 + STEP, ... until none is killed
    folder_crash_child.py one INPUT OUTPUT ERROR CONFIG     one run, for others to kill

Prints how often it killed.
"""

import os
import signal
import sys
from pathlib import Path

from folder_fixture import QUICK, a_line

from openai_parallel_toolkit.api.batch_folder import BatchFolder, folder
from openai_parallel_toolkit.core.checkpoint import EVENT
from openai_parallel_toolkit.transport import http

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "shutil.copyfile", "shutil.rmtree"}
PRELOADED = (folder, http)


def work(root, config):
    places = [os.path.join(root, name) for name in ("in", "out", "err")]
    BatchFolder(config, *places, progress=False, fail_on_error=False, pace=QUICK).run()


def put_inputs(root, number):
    """Three inputs: one needs two batches, one has a line that fails, one cannot be used."""
    for name, lines in (
        ("good.jsonl", [a_line(f"{number}-{say}", f"{say} {number}") for say in ("go", "stumble")]),
        ("deep/part.jsonl", [a_line(f"{number}-part"), a_line(f"{number}-bad", "poison")]),
        ("bad.jsonl", ["{"]),
    ):
        path = Path(root) / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines))


def killer(root, number):
    seen = 0

    def watch(event, arguments):
        nonlocal seen
        if event == EVENT or (event in EVENTS and str(arguments[0]).startswith(root)):
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    return watch


def in_fork(act, prepare):
    """Return whether a forked child did its work; False: it was killed."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            prepare()
            act()
            status = 0
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, -signal.SIGKILL), status
    return status == 0


def main(base, config, step):
    number, is_killed = 1, True
    while is_killed:
        root = os.path.join(base, f"{number:04}")
        put_inputs(root, number)
        watch = killer(root, number)
        is_killed = not in_fork(lambda: work(root, config), lambda: sys.addaudithook(watch))  # noqa: B023
        if is_killed:
            assert in_fork(lambda: work(root, config), lambda: None)  # noqa: B023
        number += step
    print((number - 1) // step - 1)


if __name__ == "__main__":
    if sys.argv[1] == "one":
        *places, config = sys.argv[2:]
        BatchFolder(config, *places, progress=False, fail_on_error=False, pace=QUICK).run()
    else:
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
