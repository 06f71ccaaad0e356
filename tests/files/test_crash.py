"""Killed at any moment, a run is finished by the next one, and no output is ever half."""

import os
import random
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))


def drive(*args):
    path = os.pathsep.join([HERE, os.path.dirname(os.path.dirname(HERE))])
    child = subprocess.run(
        [sys.executable, os.path.join(HERE, "crash_child.py"), *map(str, args)],
        check=False,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr
    return int(child.stdout)


@pytest.mark.crash
def test_a_kill_at_any_file_event_is_survived_and_so_is_a_second_one(tmp_path, request):
    step = 1 if request.config.getoption("--full", default=False) else 8
    assert drive("events", tmp_path, step) * step > 50


@pytest.mark.crash
def test_kills_at_random_moments_are_survived(tmp_path):
    seed = random.randrange(10**6)
    print("seed", seed)
    assert drive("random", tmp_path, seed) > 0
