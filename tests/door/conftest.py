"""A fixture for the door: a folder, keys for a simulator, the openai package left as it was."""

import contextlib

import pytest
from door_fixture import DoorFixture
from toolkit_fixture import openai_as_found


@pytest.fixture
def door(tmp_path, monkeypatch):
    """A folder, and whatever simulators, keys and clients a test makes over it."""
    monkeypatch.chdir(tmp_path)
    with contextlib.ExitStack() as stack:
        stack.enter_context(openai_as_found())
        yield DoorFixture(tmp_path, stack)
