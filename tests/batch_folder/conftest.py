"""One simulator and one bench for each test."""

from __future__ import annotations

import pytest
from folder_kit import Bench

from openai_parallel_toolkit.simulator import Simulator


@pytest.fixture
def sim():
    with Simulator(batch_seconds=0.1) as sim:
        yield sim


@pytest.fixture
def bench(tmp_path, sim):
    return Bench(tmp_path, sim)
