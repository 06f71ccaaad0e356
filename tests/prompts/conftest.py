"""A fixture for files of prompts."""

from contextlib import ExitStack

import pytest
from prompts_fixture import PromptFixture


@pytest.fixture
def fixture(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:
        yield PromptFixture(tmp_path, stack)
