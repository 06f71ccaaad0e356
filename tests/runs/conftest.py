"""The bench and the simulator that the tests of whole runs use."""

import pytest
from run_bench import Bench

from openai_parallel_toolkit.simulator import SimKey, Simulator


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture
def sim():
    with Simulator([SimKey("good")], seed=7) as simulator:
        yield simulator
