"""What all tests share: no outside world, no secrets left behind, no leftovers between tests."""

import os

import pytest

from openai_parallel_toolkit.keys import forget_default_manager

_OUTSIDE = ("OPENAI_", "AZURE_OPENAI_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="run the long form of slow suites")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    """Keys and proxies of the machine do not reach the tests."""
    for name in list(os.environ):
        if name.upper().startswith(_OUTSIDE):
            monkeypatch.delenv(name)
    yield
    forget_default_manager()
