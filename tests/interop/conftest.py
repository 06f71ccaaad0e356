"""Servers that others wrote, one of each for the session, and a fixture to work at."""

import contextlib

import pytest
from interop_fixture import InteropFixture
from servers import Aimock, Llama


@pytest.fixture(scope="session")
def _aimock(tmp_path_factory):
    with Aimock.running(tmp_path_factory.mktemp("aimock")) as server:
        yield server


@pytest.fixture
def aimock(_aimock):
    _aimock.reset()
    return _aimock


@pytest.fixture(scope="session")
def llama(tmp_path_factory):
    with Llama.running(tmp_path_factory.mktemp("llama")) as server:
        yield server


@pytest.fixture
def fixture(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no config.json or .env of the repository is found
    with contextlib.ExitStack() as stack:
        yield InteropFixture(tmp_path, stack)
