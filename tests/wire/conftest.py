"""The fixture that the wire tests work at, and an openai package left as it was found."""

import contextlib

import pytest
from toolkit_fixture import openai_as_found
from wire_fixture import WireFixture


@pytest.fixture
def fixture(tmp_path, monkeypatch):
    """A folder, and whatever simulators a test starts over it."""
    monkeypatch.chdir(tmp_path)  # no config.json or .env of the repository is found
    with contextlib.ExitStack() as stack:
        yield WireFixture(tmp_path, stack)


@pytest.fixture
def openai_module():
    """The openai package, put back as it was after the test."""
    with openai_as_found() as openai:
        yield openai
