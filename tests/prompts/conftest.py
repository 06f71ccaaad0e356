"""A desk for files of prompts."""

from contextlib import ExitStack

import pytest
from prompts_kit import Desk


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:
        yield Desk(tmp_path, stack)
