"""A fixture for calls: a folder, keys for a simulator, the openai package left as it was found."""

import contextlib

import pytest
from toolkit_fixture import ToolkitFixture, openai_as_found


@pytest.fixture
def fixture(tmp_path, monkeypatch):
    """A folder, and whatever simulators and keys a test makes over it."""
    monkeypatch.chdir(tmp_path)
    with contextlib.ExitStack() as stack:
        yield ToolkitFixture(tmp_path, stack)


@pytest.fixture
def openai_module():
    """The openai package, put back as it was after the test."""
    with openai_as_found() as openai:
        yield openai
