"""A desk to give commands at, and the servers that they ask."""

import pytest
from cli_desk import Desk

from openai_parallel_toolkit.simulator import SimKey, Simulator


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


@pytest.fixture
def sim():
    with Simulator([SimKey("good"), SimKey("other"), SimKey("empty", quota="none")]) as simulator:
        yield simulator


@pytest.fixture
def slow_sim():
    with Simulator([SimKey("good")], latency=2.0) as simulator:
        yield simulator
