"""What every store promises, shown for each kind."""

import gc
import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from remote_fixture import store_of

from openai_parallel_toolkit.core.errors import StorageError, UnsafePath
from openai_parallel_toolkit.files.stores import open_store

ODD_NAMES = [
    "with space.txt",
    "ümläut-名.txt",
    "100%.txt",
    "a%20b",
    "q?x=1",
    "#3",
    "a+b&c=d",
    "[x]*?",
    "名" * 85,  # as long as a name on a disk may be
]


@pytest.fixture
def put(store, tmp_path):
    """Return a function that publishes text under a path."""

    def publish(path, text="hello"):
        source = tmp_path / "source"
        source.write_text(text)
        store.publish(str(source), path)

    return publish


def read(store, path):
    with store.open(path) as file:
        return file.read().decode()


def paths(store, **how):
    return [found.path for found in store.list(**how)]


def test_an_empty_store_lists_nothing(store):
    assert paths(store) == []
    assert paths(store, recursive=False) == []


def test_what_was_published_is_read_back_whole(store, put):
    put("a/b.txt", "one")
    assert read(store, "a/b.txt") == "one"
    assert store.exists("a/b.txt")
    assert store.stat("a/b.txt").size_bytes == 3


def test_an_empty_file_is_a_file(store, put, tmp_path):
    put("empty", "")
    assert read(store, "empty") == ""
    assert paths(store) == ["empty"]
    assert store.fetch("empty", str(tmp_path / "copy")).size_bytes == 0


def test_listing_is_recursive_and_in_the_order_of_the_paths(store, put):
    names = ["b.txt", "a/x", "a.txt", "a/b/c", "a-b"]
    for name in names:
        put(name)
    assert paths(store) == sorted(names)


def test_listing_can_stay_in_one_folder(store, put):
    for name in ("top", "a/x", "a/b/c"):
        put(name)
    assert paths(store, recursive=False) == ["top"]


def test_a_folder_is_not_a_file(store, put, tmp_path):
    put("a/x")
    assert not store.exists("a")
    with pytest.raises(FileNotFoundError):
        store.stat("a")
    with pytest.raises((FileNotFoundError, StorageError)):
        store.fetch("a", str(tmp_path / "copy"))


def test_a_store_below_a_file_is_empty(root_url, put):
    put("a")
    assert paths(store_of(f"{root_url}/a")) == []


def test_neighbours_with_the_same_beginning_are_not_below(root_url, put):
    put("data/x")
    put("database/x")
    assert paths(store_of(f"{root_url}/data")) == ["x"]


def test_what_lies_beside_the_root_is_not_listed(root_url, store, put, tmp_path):
    put("x")
    store_of(f"{root_url}2").publish(str(tmp_path / "source"), "y")
    assert paths(store) == ["x"]


def test_a_listing_is_never_stale(root_url, store, put, tmp_path):
    put("x")
    assert paths(store) == ["x"]
    other = open_store(root_url)
    other.publish(str(tmp_path / "source"), "y")
    other.delete("x")
    assert paths(store) == ["y"]
    assert not store.exists("x")
    other.close()


def test_publishing_again_replaces_and_changes_the_signature(store, put):
    put("x", "old")
    old = store.stat("x")
    put("x", "new")
    assert read(store, "x") == "new"
    assert store.stat("x").signature != old.signature


def test_listing_and_stat_agree(store, put):
    put("a/x", "text")
    assert list(store.list()) == [store.stat("a/x")]


def test_publishing_leaves_the_source_as_it_was(store, put, tmp_path):
    put("x", "kept")
    assert (tmp_path / "source").read_text() == "kept"


def test_fetch_replaces_the_local_copy_and_tells_what_it_fetched(store, put, tmp_path):
    put("x", "new")
    copy = tmp_path / "copy"
    copy.write_text("something longer that was there")
    assert store.fetch("x", str(copy)) == store.stat("x")
    assert copy.read_text() == "new"


def test_what_is_not_there_is_told_apart(store, tmp_path):
    copy = tmp_path / "copy"
    assert not store.exists("none")
    for act in (store.stat, store.open, lambda path: store.fetch(path, str(copy))):
        with pytest.raises(FileNotFoundError):
            act("none")
    assert not [name for name in os.listdir(tmp_path) if "copy" in name]


def test_deleting_what_is_gone_is_fine(store, put):
    put("x")
    store.delete("x")
    store.delete("x")
    assert paths(store) == []


# aiohttp's hint to the Azure package, which sends blocks of 4 MB.
@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
def test_a_large_file_goes_up_and_comes_down(store, tmp_path):
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(os.urandom(1_000_003) * 8)
    store.publish(str(source), "large")
    store.fetch("large", str(copy))
    assert copy.read_bytes() == source.read_bytes()
    with store.open("large") as file:
        file.seek(8_000_000)
        assert file.read() == source.read_bytes()[8_000_000:]


def test_a_reader_sees_the_old_or_the_new_file_and_nothing_between(store, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"o" * 300_000)
    new.write_bytes(b"n" * 400_000)
    store.publish(str(old), "x")
    stop = threading.Event()

    def rewrite():
        while not stop.is_set():
            store.publish(str(new), "x")
            store.publish(str(old), "x")

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        for _ in range(10):
            copy = tmp_path / "copy"
            try:
                store.fetch("x", str(copy))
            except StorageError as exc:
                assert "written to while it was read" in str(exc)  # noqa: PT017
                continue
            assert copy.read_bytes() in (old.read_bytes(), new.read_bytes())
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_survive_or_are_refused_clearly(store, put, name, tmp_path):
    try:
        put(f"d/{name}", name)
    except UnsafePath as exc:
        assert "rename it" in str(exc)  # noqa: PT017
        return
    assert paths(store) == [f"d/{name}"]
    assert read(store, f"d/{name}") == name
    store.fetch(f"d/{name}", str(tmp_path / "copy"))
    assert Path(tmp_path / "copy").read_text() == name
    store.delete(f"d/{name}")
    assert paths(store) == []


@pytest.mark.parametrize("path", ["", "/x", "a//b", "../x", "a/../b", "./x", "a\0b", "x/"])
def test_paths_that_leave_the_root_are_refused(store, path, tmp_path):
    for act in (store.stat, store.open, store.exists, store.delete):
        with pytest.raises(UnsafePath):
            act(path)
    for act in (store.publish, lambda local, path: store.fetch(path, local)):
        with pytest.raises(UnsafePath):
            act(str(tmp_path / "source"), path)


def test_the_url_of_a_file_opens_it(store, put):
    put("a/x", "text")
    assert paths(store_of(store.url("a"))) == ["x"]


def test_closing_a_store_leaves_no_connection_open(root_url, tmp_path):
    store = open_store(root_url)
    (tmp_path / "source").write_text("x")
    store.publish(str(tmp_path / "source"), "x")
    store.close()
    del store
    gc.collect()  # what was left open would be warned of, and warnings are errors here


def test_many_threads_share_a_store(store, put):
    for number in range(20):
        put(f"n/{number}", str(number))
    found = []
    threads = [
        threading.Thread(target=lambda n=n: found.append((n, read(store, f"n/{n}"))))
        for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [(n, str(n)) for n in range(20)]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["publish", "delete"]),
        st.sampled_from(["a", "b", "c/d", "c/e", "f/g/h"]),
    ),
    max_size=8,
)


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS)
def test_any_story_leaves_what_a_dictionary_would_hold(store, put, steps):
    for path in paths(store):
        store.delete(path)
    model = {}
    for number, (action, path) in enumerate(steps):
        if action == "publish":
            put(path, str(number))
            model[path] = str(number)
        else:
            store.delete(path)
            model.pop(path, None)
    assert {path: read(store, path) for path in paths(store)} == model


def test_what_is_half_written_is_cleared_and_nothing_else(store, put):
    put("a/b.txt")
    half = Path(store.root, "a", f".{'0' * 16}.part") if store.is_local else None
    if half:
        half.write_text("he")
    store.clear_parts("a")
    store.clear_parts("nothing is here")
    assert not half or not half.exists()
    assert paths(store) == ["a/b.txt"]
