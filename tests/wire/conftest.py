"""The fixture that the wire tests work at, and an openai package left as it was found."""

import contextlib

import pytest
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
    import openai

    before = openai.api_key, openai.max_retries
    yield openai
    if openai.http_client is not None:
        openai.http_client.close()
    openai.http_client = openai.base_url = None
    openai.api_key, openai.max_retries = before
    openai._reset_client()
