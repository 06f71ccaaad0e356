"""After a power cut that takes all that was not synced, each answer that was told is there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from compiled_shim import compiled_shim
from journal_fixture import FILE
from power_child import ANSWERS, THREADS

from openai_parallel_toolkit.journal import Journal

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    return compiled_shim(HERE / "durable_copies.c", tmp_path_factory.mktemp("shim"))


@pytest.mark.parametrize("place", ["loop", "thread"])
def test_what_was_told_to_be_durable_outlives_the_power(tmp_path, shim, place):
    disk, state = tmp_path / "disk", tmp_path / "state"
    disk.mkdir()
    child = subprocess.run(
        [sys.executable, str(HERE / "power_child.py"), str(state), place],
        check=False,
        env={**os.environ, "LD_PRELOAD": str(shim), "DURABLE": str(disk)},
        stdout=subprocess.PIPE,
        timeout=120,
    )
    told = child.stdout.decode().split()
    assert len(told) == THREADS * ANSWERS
    copies = {path.name for path in disk.iterdir()}
    assert copies == {FILE, f"{FILE}-wal"}  # the log was brought into the database on the way
    for path in disk.iterdir():
        path.chmod(0o600)
    journal = Journal.open(str(disk))
    kept = {hash for hash, _, _ in journal.answers(journal.file("a").id)}
    journal.close()
    assert set(told) <= kept
