"""The desk that the tests of batch mode work at."""

import contextlib

import pytest
from batch_desk import Desk


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder, and whatever simulators a test starts over it."""
    monkeypatch.chdir(tmp_path)  # no config.json or .env of the repository is found
    with contextlib.ExitStack() as stack:
        yield Desk(tmp_path, stack)
