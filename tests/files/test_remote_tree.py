"""Outputs that go to a store far away, and inputs that come from one."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from work_fakes import FakeJournal
from work_fixture import WorkFixture

from openai_parallel_toolkit.core.errors import OutputConflict, StorageError, UnsafePath
from openai_parallel_toolkit.core.records import FileState
from openai_parallel_toolkit.files.match import Selection
from openai_parallel_toolkit.files.remote import Listing, RemoteInputs, RemoteTree
from openai_parallel_toolkit.files.scan import scan
from openai_parallel_toolkit.files.stores import LocalStore, StoredObject


class FarStore(LocalStore):
    """A folder that stands for a store far away; can be told to refuse what is published."""

    is_local = False
    refuses = ""

    def publish(self, local_path, path):
        if self.refuses and self.refuses in path:
            raise StorageError("it is refused", path=path)
        super().publish(local_path, path)


class FarFixture(WorkFixture):
    def __init__(self, root, journal=None):
        super().__init__(root, journal)
        self.far = FarStore(os.path.join(self.root, "far"))
        self.tree.close()
        self.open_tree()

    def open_tree(self, **more):
        self.tree = RemoteTree(self.far, self.output, self.state, **more)

    def far_texts(self):
        found = {}
        for stored in self.far.list():
            with self.far.open(stored.path) as file:
                found[stored.path] = file.read().decode()
        return found

    def due_from(self, inputs):
        plan = scan(
            self.layout(),
            Selection(),
            state_folder=self.state,
            states=self.journal,
            key=str,
            inputs=inputs,
            outputs=self.tree,
        )
        paths = [due.path for due in plan.due()]
        plan.close()
        return paths

    def staged(self):
        return [name for _, _, files in os.walk(self.staging.root) for name in files]


@pytest.fixture
def work(tmp_path):
    work = FarFixture(tmp_path)
    yield work
    work.tree.close()


def test_outputs_arrive_and_their_staged_copies_go(work):
    files = [work.run_hook(f"d{n % 3}/{n}.txt", {".json": str(n), ".txt": "t"}) for n in range(20)]
    work.publish(*files)
    assert len(work.done) == 20
    assert len(work.far_texts()) == 40
    assert work.far_texts()["d1/4.json"] == "4"
    assert work.staged() == []


def test_nothing_is_uploaded_before_the_intent_is_kept(work):
    file = work.run_hook("a.txt", {".json": "1"})
    work.journal.refuse[file.file_id] = StorageError("The journal's disk is full.")
    work.publish(file)
    assert work.far_texts() == {}
    assert list(work.failed) == ["a.txt"]


def test_an_upload_that_is_refused_stops_the_run_like_a_full_disk(work):
    work.far.refuses = "b."
    files = [work.run_hook(f"{name}.txt", {".json": name}) for name in "abc"]
    publisher = work.publish(*files)
    assert sorted(work.done) == ["a.txt", "c.txt"]
    assert list(work.failed) == ["b.txt"]
    assert isinstance(publisher.trouble, StorageError)


@pytest.mark.parametrize("uploaded", [0, 1, 2])
def test_an_intent_that_a_crash_left_is_finished_from_the_staged_copies(tmp_path, uploaded):
    work = FarFixture(tmp_path, FakeJournal(str(tmp_path / "journal")))
    file = work.run_hook("a.txt", {".json": "1", ".txt": "2"})
    work.journal.intent(file.file_id, file.outputs, lambda error: None)
    for output in file.outputs[:uploaded]:
        work.far.publish(work.staging.path_of(output), output.final)
    found = work.roll_forward()  # the process died, and this is the next one
    assert found.done == ("a.txt",)
    assert work.far_texts() == {"a.json": "1", "a.txt": "2"}
    assert work.journal.states[file.file_id] is FileState.DONE
    work.tree.close()


def test_an_intent_whose_staged_copies_are_lost_is_due_again(work):
    file = work.run_hook("a.txt", {".json": "1"})
    work.journal.intent(file.file_id, file.outputs, lambda error: None)
    os.unlink(work.staging.path_of(file.outputs[0]))
    assert work.roll_forward().again == ("a.txt",)


def test_nothing_is_swept_while_the_store_refuses(work):
    file = work.run_hook("a.txt", {".json": "1"})
    work.journal.intent(file.file_id, file.outputs, lambda error: None)
    work.far.refuses = "a."
    with pytest.raises(StorageError):
        work.roll_forward()
    work.far.refuses = ""
    assert work.roll_forward().done == ("a.txt",)


def test_what_was_there_before_the_run_is_not_replaced(work):
    source = os.path.join(work.root, "source")
    with open(source, "w") as file:
        file.write("not ours")
    work.far.publish(source, "a.json")
    work.tree.close()
    work.open_tree()
    work.publish(work.run_hook("a.txt", {".json": "ours"}))
    assert isinstance(work.failed["a.txt"], OutputConflict)
    assert work.far_texts() == {"a.json": "not ours"}


def test_two_inputs_of_one_run_do_not_write_the_same_output(work):
    work.publish(work.run_hook("a.txt", {".json": "first"}))
    second = work.run_hook("b.txt", {})
    staged = os.path.join(os.path.dirname(second.staged.path_without_ext), "a.json")
    with open(staged, "w") as file:
        file.write("second")
    work.publish(work.finished("b.txt", second.staged))
    assert isinstance(work.failed["b.txt"], OutputConflict)
    assert work.far_texts() == {"a.json": "first"}


def test_a_folder_of_inputs_among_the_outputs_is_closed(work):
    work.tree.close()
    work.open_tree(closed="in")
    with pytest.raises(UnsafePath):
        work.tree.holds("in/x")
    assert not work.tree.holds("inner/x")


def test_a_scan_finds_far_inputs_as_it_finds_near_ones(tmp_path):
    work = FarFixture(tmp_path)
    paths = ["b.txt", "a/x.txt", "a/.hidden", ".git/x", "a/b/c.txt", "z.md"]
    work.write_inputs(*paths)
    near = work.due()
    inputs = RemoteInputs(FarStore(work.input), work.state)
    assert [inputs.size_bytes(path) for path in near] == [1] * len(near)
    far = work.due_from(inputs)
    assert far == near == ["b.txt", "z.md", "a/x.txt", "a/b/c.txt"]
    inputs.close()
    work.tree.close()


def test_an_input_is_copied_under_its_name_and_gone_afterwards(tmp_path):
    work = FarFixture(tmp_path)
    work.write_inputs("a/my file.txt", text="hello")
    inputs = RemoteInputs(FarStore(work.input), work.state)
    with inputs.local_copy("a/my file.txt") as found, open(found.path) as file:
        assert file.read() == "hello"
        assert os.path.basename(found.path) == "my file.txt"
        assert found.signature
    assert not os.path.exists(found.path)
    inputs.close()
    assert "fetched" not in os.listdir(work.state)
    work.tree.close()


PART = st.sampled_from(["a", "b", "a-b", "é", "x.txt"])
PATHS = st.lists(
    st.lists(PART, min_size=1, max_size=4).map("/".join) | st.sampled_from(["a//b", "/x", "../y"]),
    unique=True,
)


@settings(max_examples=60, deadline=None)
@given(paths=PATHS)
def test_a_listing_tells_folder_by_folder_what_was_put_in(tmp_path_factory, paths):
    listing = Listing(str(tmp_path_factory.mktemp("listing")))
    listing.fill(StoredObject(path=p, size_bytes=len(p), signature="s") for p in sorted(paths))
    good = [p for p in paths if not {"", ".", ".."} & set(p.split("/"))]
    seen, folders = [], [""]
    while folders:
        folder = folders.pop()
        inside = f"{folder}/" if folder else ""
        seen += [inside + name for name in listing.files(folder)]
        folders += [inside + name for name in listing.folders(folder)]
    assert sorted(seen) == sorted(good)
    assert [listing.size_bytes(p) for p in good] == [len(p) for p in good]
    assert listing.odd_count == len(paths) - len(good)
    assert listing.size_bytes("never") is None
    listing.close()


def test_a_huge_folder_is_told_page_by_page_while_files_are_added(tmp_path):
    listing = Listing(str(tmp_path))
    listing.fill(StoredObject(path=f"{n:06}", size_bytes=1, signature="") for n in range(12_000))
    found = []
    for name in listing.files(""):
        if len(found) == 3:
            listing.add("zzz", 7)
        found.append(name)
    assert found == [f"{n:06}" for n in range(12_000)] + ["zzz"]
    assert os.listdir(tmp_path) == []
    listing.close()
