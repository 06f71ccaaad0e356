"""What all tests share: no outside world, no secrets left behind, no leftovers between tests."""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

from openai_parallel_toolkit.keys import close_default_managers

_OUTSIDE = ("OPENAI_", "AZURE_OPENAI_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")

# Whether an example takes long depends on the machine.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


def heed_signals():
    """Have the processes that tests start heed stop signals that this one ignores, as under nohup.

    A signal that is ignored stays so in a child; one that is handled is the child's own again.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


heed_signals()


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="run the long form of slow suites")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    """Keys and proxies of the machine do not reach the tests."""
    for name in list(os.environ):
        if name.upper().startswith(_OUTSIDE):
            monkeypatch.delenv(name)
    yield
    close_default_managers()
