"""The stores that the suite runs over: a folder, and S3, Azure's and Google's by servers here."""

import contextlib
import os
import secrets

import pytest
import store_servers
from remote_fixture import store_of

KINDS = ("local", "s3", "abfs", "gs")
#: The other way to reach Google's, gRPC, is not served here; read when gcsfs is imported.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
_CACHE = os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
    "openai-parallel-toolkit-tests",
)


def pytest_collection_modifyitems(items):
    """The first test of a store may have to install its server."""
    for item in items:
        if item.path.parent == item.config.rootpath / "tests" / "storage":
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(autouse=True)
def _outside(monkeypatch, tmp_path):
    """Credentials and state of the machine's user do not reach the tests."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_", "STORAGE_EMULATOR_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))


@pytest.fixture(scope="session")
def servers_running():
    """Start each server when it is first asked for."""
    with contextlib.ExitStack() as stack:
        yield Servers(stack)


class Servers:
    def __init__(self, stack):
        self._stack = stack
        self._environments = {}
        self._buckets = {}

    def environment(self, kind):
        """Environment variables with which `kind` of store is reached."""
        if kind not in self._environments:
            try:
                self._environments[kind] = getattr(self, f"_{kind}")()
            except store_servers.NotHere as exc:
                self._environments[kind] = str(exc)
        found = self._environments[kind]
        if isinstance(found, str):
            pytest.skip(found)
        return found

    def bucket(self, kind):
        """URL of a bucket that all tests share; its environment is set."""
        if kind not in self._buckets:
            self._buckets[kind] = new_bucket(kind)
        return self._buckets[kind]

    def _local(self):
        return {}

    def _s3(self):
        pytest.importorskip("s3fs")
        pytest.importorskip("moto.server")
        url = self._stack.enter_context(store_servers.moto())
        return {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing-testing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def _abfs(self):
        pytest.importorskip("adlfs")
        connection = self._stack.enter_context(store_servers.azurite(_CACHE))
        return {"AZURE_STORAGE_CONNECTION_STRING": connection}

    def _gs(self):
        pytest.importorskip("gcsfs")
        pytest.importorskip("gcp_storage_emulator")
        return {"STORAGE_EMULATOR_HOST": self._stack.enter_context(store_servers.gcs())}


def new_bucket(kind):
    """Make a bucket and return its URL."""
    name = f"b{secrets.token_hex(6)}"
    store_of(f"{kind}://{name}")._fs.mkdir(name)
    return f"{kind}://{name}"


@pytest.fixture
def new_place(servers_running, monkeypatch, tmp_path):
    """Return a function that gives the URL of an empty place of a kind; its bucket exists."""

    def make(kind, *, own_bucket=False):
        for name, value in servers_running.environment(kind).items():
            monkeypatch.setenv(name, value)
        name = f"p{secrets.token_hex(6)}"
        if kind == "local":
            return f"{tmp_path}/{name}"
        return new_bucket(kind) if own_bucket else f"{servers_running.bucket(kind)}/{name}"

    return make


@pytest.fixture(params=KINDS)
def root_url(request, new_place):
    """A place that is empty."""
    return f"{new_place(request.param)}/some/place"


@pytest.fixture
def store(root_url):
    return store_of(root_url)
