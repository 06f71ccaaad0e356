"""The fixture and the simulator that the tests of whole runs use."""

import pytest
from run_fixture import RunFixture

from openai_parallel_toolkit.simulator import SimKey, Simulator


@pytest.fixture
def fixture(tmp_path):
    return RunFixture(tmp_path)


@pytest.fixture
def sim():
    with Simulator([SimKey("good")], seed=7) as simulator:
        yield simulator
