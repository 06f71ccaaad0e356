"""What a path or URL names, and what is said when it cannot be used."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_parallel_toolkit.core.errors import ConfigError, StorageError
from openai_parallel_toolkit.files.stores import LocalStore, is_remote, open_store
from openai_parallel_toolkit.files.stores.remote import Cleaner, RemoteStore
from openai_parallel_toolkit.files.stores.urls import remote_place

BACKENDS = [("s3", "s3fs", "s3"), ("abfs", "adlfs", "azure"), ("gs", "gcsfs", "gcs")]


@pytest.mark.parametrize(
    ("url", "same_as"),
    [
        ("s3://bucket/in/", "s3://bucket/in"),
        ("s3a://bucket/in", "s3://bucket/in"),
        ("S3://bucket", "s3://bucket"),
        ("az://box/in", "abfs://box/in"),
        ("abfss://box/in", "abfs://box/in"),
        ("abfss://box@acme.dfs.core.windows.net/in", "abfs://box@acme.dfs.core.windows.net/in"),
        ("gcs://bucket/a/b", "gs://bucket/a/b"),
    ],
)
def test_a_place_has_one_name(url, same_as):
    assert remote_place(url) == remote_place(same_as)
    assert remote_place(url).url == same_as


@pytest.mark.parametrize("path", ["in", "/data/in", "./s3:/x", "C:\\data", "a://", "file:///x"])
def test_what_is_no_url_of_an_object_store_is_local(path):
    if path == "a://":
        with pytest.raises(ConfigError):
            is_remote(path)
    else:
        assert not is_remote(path)


def test_a_file_url_is_a_folder_of_this_machine(tmp_path):
    store = open_store(f"file://{tmp_path}")
    assert store.is_local
    assert store.url() == str(tmp_path)
    assert isinstance(open_store(tmp_path), LocalStore)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://host/x", "https:// is no place"),
        ("ftp://host/x", "use a path, s3://, abfs:// or gs://"),
        ("s3:///x", "names no bucket"),
        ("s3://bucket/a//b", "leave it out"),
        ("s3://bucket/../x", "leave it out"),
        ("s3://bucket/x::zip", "leave it out"),
        ("s3://user@bucket/x", "names no bucket"),
    ],
)
def test_a_url_that_cannot_be_used_says_why(url, words):
    with pytest.raises(ConfigError, match=words):
        open_store(url)


def test_credentials_in_a_url_are_refused_and_not_repeated():
    with pytest.raises(ConfigError) as caught:
        open_store("s3://AKIAKEY:topsecret@bucket/x")
    assert "topsecret" not in str(caught.value)
    assert "environment" in str(caught.value)


def test_a_local_folder_takes_no_options(tmp_path):
    with pytest.raises(ConfigError, match="key"):
        open_store(tmp_path, key="x")


@pytest.mark.parametrize(("scheme", "module", "extra"), BACKENDS)
def test_a_missing_backend_names_the_extra_that_installs_it(monkeypatch, scheme, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"openai-parallel-toolkit\[{extra}\]"):
        open_store(f"{scheme}://bucket/x")


def test_local_places_need_no_backend(tmp_path):
    code = (
        "import sys; from openai_parallel_toolkit.files.stores import open_store; "
        f"list(open_store({str(tmp_path)!r}).list()); sys.exit('fsspec' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_listing_is_one_question_however_many_files_there_are():
    backend = Backend({f"b/in/{n:05}": n for n in range(10_000)})
    store = RemoteStore(remote_place("s3://b/in"), backend, Cleaner({}))
    assert sum(1 for _ in store.list()) == 10_000
    assert backend.asked == ["find"]


def test_an_object_that_changes_while_it_is_fetched_is_no_input(tmp_path):
    class Changing(Backend):
        def info(self, path):
            self.asked.append("info")
            return {"type": "file", "size": 3, "ETag": f"version {len(self.asked)}"}

        def get_file(self, key, local_path):
            Path(local_path).write_text("old")

    store = RemoteStore(remote_place("s3://b"), Changing({}), Cleaner({}))
    with pytest.raises(StorageError, match="written to while it was read"):
        store.fetch("x", str(tmp_path / "copy"))
    assert list(tmp_path.iterdir()) == []


def test_folder_markers_are_no_files():
    backend = Backend({"b/in/x": 1, "b/in/sub/": 0})
    store = RemoteStore(remote_place("s3://b/in"), backend, Cleaner({}))
    assert [found.path for found in store.list()] == ["x"]


class Backend:
    """Stands for an fsspec file system; notes what it is asked."""

    def __init__(self, sizes):
        self._sizes = sizes
        self.asked = []

    def find(self, base, *, detail):
        self.asked.append("find")
        return {n: {"name": n, "type": "file", "size": s} for n, s in self._sizes.items()}

    def info(self, path):
        self.asked.append("info")
        raise RuntimeError("refused for account key topsecret and sig=abc%2Fdef&se=1")

    @staticmethod
    def _strip_protocol(path):
        return path


def test_what_a_backend_refuses_is_a_storage_error_without_credentials(monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "topsecret")
    store = RemoteStore(remote_place("abfs://b"), Backend({}), Cleaner({}))
    with pytest.raises(StorageError) as caught:
        store.stat("x")
    message = str(caught.value)
    assert "RuntimeError: refused for account key" in message
    assert "abfs://b/x" in message
    assert "topsecret" not in message
    assert "abc" not in message


class Refusal(Exception):
    def __init__(self, status_code):
        super().__init__("refused")
        self.status_code = status_code


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (PermissionError("no"), errno.EACCES),
        (Refusal(403), errno.EACCES),
        (Refusal(409), errno.EACCES),
        (Refusal(429), errno.EIO),
        (Refusal(503), errno.EIO),
        (ConnectionError("reset"), errno.EIO),
    ],
)
def test_what_concerns_one_object_is_told_apart_from_what_concerns_all(error, number):
    class Failing(Backend):
        def info(self, path):
            raise error

    store = RemoteStore(remote_place("s3://b"), Failing({}), Cleaner({}))
    with pytest.raises(StorageError) as caught:
        store.stat("x")
    assert caught.value.errno == number


@given(st.text(st.characters(codec="ascii"), min_size=6, max_size=40).filter(str.strip))
def test_an_option_that_holds_a_credential_is_never_told(secret):
    options = {"connection_string": secret, "client_kwargs": {"aws_secret_access_key": secret}}
    words = Cleaner(options).words(ValueError(f"at {secret} it broke"))
    assert secret not in words or secret in "ValueError: at [secret] it broke"


@pytest.mark.parametrize("kind", ["s3", "abfs", "gs"])
def test_a_bucket_that_does_not_exist_is_told(kind, new_place, tmp_path):
    store = open_store(new_place(kind).replace("://b", "://not"))
    (tmp_path / "x").write_text("x")
    with pytest.raises(FileNotFoundError, match="no such bucket or container"):
        list(store.list())
    with pytest.raises((FileNotFoundError, StorageError)):
        store.publish(str(tmp_path / "x"), "x")
    store.close()


@pytest.mark.parametrize("kind", ["s3", "abfs", "gs"])
def test_two_stores_share_nothing(kind, new_place):
    url = new_place(kind)
    one, other = open_store(url), open_store(url)
    one.close()
    assert list(other.list()) == []
    other.close()


def test_wrong_credentials_are_told_without_showing_them():
    key = "d3JvbmcgYXMgY2FuIGJl"
    with pytest.raises(ConfigError, match="abfs://box cannot be opened") as caught:
        open_store("abfs://box", connection_string=f"AccountKey={key}")
    assert key not in str(caught.value)
