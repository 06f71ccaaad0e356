"""What all tests share: no outside world, no secrets left behind, no leftovers between tests."""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

from openai_parallel_toolkit.keys import close_default_managers

_OUTSIDE = ("OPENAI_", "AZURE_OPENAI_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
#: Rooms whose servers take seconds to start.
_SERVED = ("tests/interop/", "tests/stores/")

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


def pytest_collection_modifyitems(items):
    """What takes long begins first, so that no worker is alone with it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("crash") is None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Tests that start the same servers of others go to one worker, which starts them once."""
    from xdist.scheduler import LoadScopeScheduling

    class ByServer(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return next((room for room in _SERVED if nodeid.startswith(room)), nodeid)

    return ByServer(config, log) if config.getvalue("dist") == "load" else None


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    """Keys and proxies of the machine do not reach the tests."""
    for name in list(os.environ):
        if name.upper().startswith(_OUTSIDE):
            monkeypatch.delenv(name)
    yield
    close_default_managers()
