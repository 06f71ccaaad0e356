"""A server that gives keys back, and the folder in which they must not be found."""

import pytest
from echo_fixture import EchoFixture
from echo_server import echo_server


@pytest.fixture
def echo():
    with echo_server() as server:
        yield server


@pytest.fixture
def place(tmp_path, echo):
    return EchoFixture(tmp_path, echo)
