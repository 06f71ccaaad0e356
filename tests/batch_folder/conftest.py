"""One simulator and one fixture for each test."""

from __future__ import annotations

import pytest
from folder_fixture import FolderFixture

from openai_parallel_toolkit.simulator import Simulator


@pytest.fixture
def sim():
    with Simulator(batch_seconds=0.1) as sim:
        yield sim


@pytest.fixture
def fixture(tmp_path, sim):
    return FolderFixture(tmp_path, sim)
