"""A fixture for calls: a folder, keys for a simulator, the openai package left as it was found."""

import contextlib

import pytest
from calls_fixture import CallFixture


@pytest.fixture
def fixture(tmp_path, monkeypatch):
    """A folder, and whatever simulators and keys a test makes over it."""
    monkeypatch.chdir(tmp_path)
    with contextlib.ExitStack() as stack:
        yield CallFixture(tmp_path, stack)


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
