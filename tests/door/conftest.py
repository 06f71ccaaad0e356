"""A fixture for the door: a folder, keys for a simulator, the openai package left as it was."""

import contextlib

import openai
import pytest
from door_fixture import DoorFixture


@pytest.fixture
def door(tmp_path, monkeypatch):
    """A folder, and whatever simulators, keys and clients a test makes over it."""
    monkeypatch.chdir(tmp_path)
    before = openai.api_key, openai.max_retries, openai.base_url
    with contextlib.ExitStack() as stack:
        yield DoorFixture(tmp_path, stack)
    if openai.http_client is not None:
        openai.http_client.close()
    openai.http_client = None
    openai.api_key, openai.max_retries, openai.base_url = before
    openai._reset_client()
