"""A workspace to give commands in, and the servers that they ask."""

import threading

import pytest
from cli_workspace import Workspace

from openai_parallel_toolkit.simulator import SimKey, Simulator


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path)


@pytest.fixture
def sim():
    with Simulator([SimKey("good"), SimKey("other"), SimKey("empty", quota="none")]) as simulator:
        yield simulator


@pytest.fixture
def let_go():
    """What lets `holding_sim` answer."""
    return threading.Event()


@pytest.fixture
def holding_sim(let_go):
    """Takes a request and answers nobody until it is let go."""
    with Simulator([SimKey("good")], on_post=lambda _: let_go.wait(60)) as simulator:
        yield simulator
        let_go.set()


@pytest.fixture
def slow_sim():
    with Simulator([SimKey("good")], latency=2.0) as simulator:
        yield simulator
