"""The fixture that the tests of batch mode work at."""

import contextlib

import pytest
from batch_fixture import RunFixture


@pytest.fixture
def fixture(tmp_path, monkeypatch):
    """A folder, and whatever simulators a test starts over it."""
    monkeypatch.chdir(tmp_path)  # no config.json or .env of the repository is found
    with contextlib.ExitStack() as stack:
        yield RunFixture(tmp_path, stack)
