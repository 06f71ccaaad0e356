"""Runs a small job in forked children that are killed, until one of them ends by itself.

    crash_child.py events FOLDER STEP    kill at the N-th file event, N = 1, 1 + STEP, ...
    crash_child.py random FOLDER SEED    kill after a random time

Prints how often it killed; any broken promise ends it with a traceback.
"""

import itertools
import os
import random
import shutil
import signal
import sys
import time
from functools import partial

from work_fakes import FakeJournal
from work_fixture import WorkFixture

from openai_parallel_toolkit.core.filesystem import name_key

EVENTS = {"open", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.listdir", "os.scandir"}
FILES = [f"{folder}{n}.txt" for folder in ("", "sub/deep/") for n in range(2)]


def fixture_of(root):
    work = WorkFixture(root, FakeJournal(os.path.join(root, "journal")))
    work.write_inputs(*FILES)
    return work


def text_of(path):
    return f"all of {path}\n" * 500


def run(root):
    work = fixture_of(root)
    work.roll_forward()
    plan = work.scan(key=name_key(work.staging.root))
    publisher = work.publisher()
    for path, _ in plan.due():
        text = text_of(path)
        publisher.publish(work.run_hook(path, {".json": text, "/part.md": text}))
    publisher.close()
    plan.close()
    assert work.failed == {}, work.failed


def check(root, *, complete):
    wanted = {}
    for path in FILES:
        stem = path[: -len(".txt")]
        wanted.update({f"{stem}.json": text_of(path), f"{stem}/part.md": text_of(path)})
    work = fixture_of(root)
    found = {path: work.read_output(path) for path in work.outputs()}
    assert all(wanted[path] == text for path, text in found.items()), "an output is not whole"
    assert not complete or found == wanted, sorted(found)


def child(root, prepare):
    """Start the job in a fork; return its process id."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            prepare()
            run(root)
            status = 0
        finally:
            os._exit(status)
    return pid


def ended(pid):
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, -signal.SIGKILL), status
    return status == 0


def kill_at(number):
    left = [number]

    def hook(event, args):
        if event in EVENTS:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def by_events(folder, step):
    for kills, number in enumerate(range(1, 2_000, step)):
        root = os.path.join(folder, "run")
        fixture_of(root)
        if ended(child(root, partial(kill_at, number))):
            return kills
        check(root, complete=False)
        # Die once more soon after, while what the first death left is being finished.
        ended(child(root, partial(kill_at, number % 40 + 30)))
        check(root, complete=False)
        assert ended(child(root, lambda: None))
        check(root, complete=True)
        shutil.rmtree(root)
    raise AssertionError("never clean")


def by_chance(folder, seed):
    chance, kills = random.Random(seed), 0
    for lap in range(25):
        root = os.path.join(folder, str(lap))
        fixture_of(root)
        for more in itertools.count(1):
            pid = child(root, lambda: None)
            # A little longer each time, so that a slow machine comes to an end as well.
            time.sleep(chance.uniform(0.001, 0.03) * more)
            os.kill(pid, signal.SIGKILL)
            clean = ended(pid)
            check(root, complete=clean)
            if clean:
                break
            kills += 1
    return kills


if __name__ == "__main__":
    how, folder, more = sys.argv[1:]
    print(by_events(folder, int(more)) if how == "events" else by_chance(folder, more))
