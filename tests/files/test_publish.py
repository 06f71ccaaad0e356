import errno
import os
import subprocess
from contextlib import suppress

import pytest
from house import House
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from work_fakes import RefusingFiles, storage_refusal

from openai_parallel_toolkit.core.errors import OutputConflict, StorageError, UnsafePath, UsageError
from openai_parallel_toolkit.core.filesystem import Files
from openai_parallel_toolkit.core.records import FileState, OutputFile
from openai_parallel_toolkit.files.output_tree import OutputTree


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


def test_outputs_appear_whole_under_their_names_and_the_file_is_done(house):
    files = [house.run_hook(f"sub/{n}.txt", {".json": str(n), "/p.md": "p"}) for n in range(5)]
    assert house.outputs() == []
    house.publish(*files)
    assert house.failed == {}
    assert sorted(house.done) == [f"sub/{n}.txt" for n in range(5)]
    assert house.read_output("sub/3.json") == "3"
    assert len(house.outputs()) == 10
    assert set(house.journal.states.values()) == {FileState.DONE}
    assert os.listdir(house.staging.root) == []


def test_a_hook_that_wrote_nothing_is_done_by_the_journal_alone(house):
    house.publish(house.run_hook("a.txt", {}))
    assert house.done == ["a.txt"]
    assert house.journal.open_intents == {}
    assert house.outputs() == []


def test_a_hook_that_no_longer_writes_is_not_asked_for_its_old_outputs(house):
    house.write_inputs("a.txt")
    house.publish(house.run_hook("a.txt", {".json": "old"}))
    os.unlink(os.path.join(house.output, "a.json"))
    assert house.due() == ["a.txt"]
    house.publish(house.run_hook("a.txt", {}))
    assert house.due() == []


def test_done_comes_after_intent_and_both_are_told_after_the_commit(house):
    house.publish(house.run_hook("a.txt", {".json": "1"}))
    assert [kind for kind, *_ in house.journal.log] == ["id", "intent", "done"]


def test_two_files_of_one_batch_that_write_the_same_output_conflict(house):
    a, b = house.run_hook("a.txt", {"/../same": "a"}), house.run_hook("b.txt", {"/../same": "b"})
    house.publish(a, b)
    assert house.read_output("same") == "a"
    assert isinstance(house.failed["b.txt"], OutputConflict)


def test_an_output_of_another_file_is_never_replaced(house):
    house.publish(house.run_hook("a.txt", {"/../same": "a"}))
    house.publish(house.run_hook("b.txt", {"/../same": "b"}), force=True)
    assert house.read_output("same") == "a"
    assert isinstance(house.failed["b.txt"], OutputConflict)
    assert os.listdir(house.staging.root) == []


def test_a_file_replaces_its_own_output(house):
    house.publish(house.run_hook("a.txt", {".json": "old", ".md": "kept"}))
    house.publish(house.run_hook("a.txt", {".json": "new"}))
    assert house.read_output("a.json") == "new"
    assert house.read_output("a.md") == "kept"


def test_a_file_of_the_users_is_replaced_only_by_force(house):
    house.write_output("a.json", "mine")
    house.publish(house.run_hook("a.txt", {".json": "new"}))
    assert isinstance(house.failed["a.txt"], OutputConflict)
    assert house.read_output("a.json") == "mine"
    house.publish(house.run_hook("a.txt", {".json": "new"}), force=True)
    assert house.read_output("a.json") == "new"


def test_names_that_the_file_system_takes_for_the_same_conflict(house):
    a, b = house.run_hook("a.txt", {"/../Same": "a"}), house.run_hook("b.txt", {"/../same": "b"})
    publisher = house.publisher(key=str.casefold)
    with publisher._changed:  # both in one batch
        publisher._waiting.extend([a, b])
        publisher._changed.notify()
    publisher.close()
    assert isinstance(house.failed["b.txt"], OutputConflict)


def finished_with(house, final):
    file = house.run_hook("a.txt", {".json": "x"})
    staged = file.outputs[0]
    outputs = (
        OutputFile(
            staged=staged.staged, final=final, size_bytes=staged.size_bytes, sha256=staged.sha256
        ),
    )
    return house.finished("a.txt", file.staged, outputs)


@pytest.mark.parametrize(
    "final",
    [
        "../a.json",
        "/etc/a.json",
        "sub/../../a.json",
        "link/a.json",
        "inner/a.json",
        "file/a.json",
        ".openai_parallel_toolkit/journal",
        ".openai_parallel_toolkit/staging/x/y",
    ],
)
def test_no_output_leaves_the_output_folder(house, tmp_path, final):
    (tmp_path / "elsewhere").mkdir()
    house.write_output("file", "f")
    house.write_output("real/x", "f")
    os.symlink(tmp_path / "elsewhere", os.path.join(house.output, "link"))
    os.symlink("real", os.path.join(house.output, "inner"))
    before = house.outputs()
    house.publish(finished_with(house, final), force=True)
    assert isinstance(house.failed["a.txt"], UnsafePath)
    assert house.outputs() == before
    assert os.listdir(tmp_path / "elsewhere") == []


def test_inputs_are_never_replaced(tmp_path):
    house = House(tmp_path)
    house.write_inputs("deep/a.json", text="mine")
    tree_root = house.root  # the input folder lies inside the output folder
    house.tree = OutputTree(tree_root, closed=[house.state, house.input])
    house.publish(finished_with(house, "in/deep/a.json"), force=True)
    assert isinstance(house.failed.pop("a.txt"), UnsafePath)
    single = os.path.join(house.input, "deep", "a.json")
    house.tree = OutputTree(house.input, closed=[single])
    house.publish(finished_with(house, "deep/a.json"), force=True)
    assert isinstance(house.failed["a.txt"], UnsafePath)
    with open(single) as file:
        assert file.read() == "mine"


def test_a_link_that_is_put_in_after_the_check_leads_nowhere(house, tmp_path):
    """The folder is swapped for a link between the check and the move."""
    (tmp_path / "elsewhere").mkdir()
    file = house.run_hook("sub/a.txt", {".json": "x"})
    os.mkdir(os.path.join(house.output, "sub"))

    class Swapping(type(house.journal)):
        def intent(self, *args):
            os.rmdir(os.path.join(house.output, "sub"))
            os.symlink(tmp_path / "elsewhere", os.path.join(house.output, "sub"))
            super().intent(*args)

    journal = Swapping()
    journal.ids = house.journal.ids
    house.journal = journal
    house.publish(file)
    assert isinstance(house.failed["sub/a.txt"], UnsafePath)
    assert os.listdir(tmp_path / "elsewhere") == []


def test_a_link_under_the_final_name_is_replaced_and_not_followed(house, tmp_path):
    (tmp_path / "target").write_text("mine")
    os.symlink(tmp_path / "target", os.path.join(house.output, "a.json"))
    house.publish(house.run_hook("a.txt", {".json": "new"}), force=True)
    assert (tmp_path / "target").read_text() == "mine"
    assert house.read_output("a.json") == "new"


def test_one_file_that_cannot_be_moved_does_not_hold_the_others(house):
    os.mkdir(os.path.join(house.output, "b.json"))
    files = [house.run_hook(f"{n}.txt", {".json": n}) for n in "abc"]
    files.append(house.run_hook("long.txt", {"/" + "n" * 255: "x"}))
    too_long = OutputFile(
        staged=files[3].outputs[0].staged, final="n" * 256, size_bytes=1, sha256="0"
    )
    files[3] = house.finished("long.txt", files[3].staged, (too_long,))
    publisher = house.publish(*files, force=True)
    assert sorted(house.done) == ["a.txt", "c.txt"]
    assert house.failed["b.txt"].errno == errno.EISDIR
    assert house.failed["long.txt"].errno == errno.ENAMETOOLONG
    assert publisher.trouble is None


@pytest.mark.parametrize("action", ["sync", "move", "sync_folder"])
def test_a_full_disk_fails_the_file_and_is_told_as_trouble(house, action):
    files = [house.run_hook("bad/a.txt", {".json": "a"}), house.run_hook("b.txt", {".json": "b"})]
    house.tree.files = RefusingFiles(errno.ENOSPC, action, "bad")
    publisher = house.publish(*files)
    house.tree.files = Files()
    assert house.done == ["b.txt"]
    assert isinstance(house.failed["bad/a.txt"], StorageError)
    assert isinstance(publisher.trouble, StorageError)
    assert house.journal.states[house.journal.id_of("bad/a.txt")] is FileState.INTENT
    house.roll_forward()
    if house.journal.states[house.journal.id_of("bad/a.txt")] is not FileState.DONE:
        house.publish(house.run_hook("bad/a.txt", {".json": "a"}))
    assert house.read_output("bad/a.json") == "a"


def test_a_commit_that_fails_fails_its_file_alone(house):
    a, b = house.run_hook("a.txt", {".json": "a"}), house.run_hook("b.txt", {".json": "b"})
    house.journal.refuse[a.file_id] = storage_refusal()
    house.publish(a, b)
    assert (house.done, list(house.failed)) == (["b.txt"], ["a.txt"])
    assert house.outputs() == ["b.json"]


def test_what_breaks_the_publisher_is_raised_at_close(house):
    publisher = house.publisher()
    house.journal.refuse[1] = ZeroDivisionError("broken")
    publisher.publish(house.run_hook("a.txt", {".json": "a"}))
    with pytest.raises(ZeroDivisionError):
        publisher.close()
    with pytest.raises(UsageError):
        publisher.publish(house.run_hook("b.txt", {}))


def test_a_small_disk_that_fills_up_loses_nothing(tmp_path):
    """On a real file system of one megabyte: what is done is whole, the rest can be run again."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs the right to mount")
    try:
        house = House(place)
        text = "y" * 150_000
        for number in range(12):
            try:
                file = house.run_hook(f"{number}.txt", {".json": text})
            except OSError as exc:
                refusal = exc.errno
                break
            house.publish(file)
        else:
            pytest.fail("the disk never filled up")
        assert refusal == errno.ENOSPC
        assert house.failed == {}
        assert all(house.read_output(name) == text for name in house.outputs())
        assert house.roll_forward().again == ()
        assert os.listdir(house.staging.root) == []
    finally:
        subprocess.run(["umount", str(place)], check=True)


NAME = (
    st.binary(min_size=1, max_size=250)
    .filter(lambda b: b[:1] != b"." and not set(b) & {0, 47})
    .map(os.fsdecode)
    | st.text(
        st.sampled_from("aB\u00e9e\u0301\u202e\n \t\U0001f600*?[]'\"\\"), min_size=1, max_size=12
    )
    | st.just("n" * 250)
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(paths=st.sets(st.lists(NAME, min_size=1, max_size=3).map("/".join), min_size=1, max_size=4))
def test_every_name_makes_the_round_trip(tmp_path_factory, paths):
    house = House(tmp_path_factory.mktemp("round"))
    for path in paths:
        # One name may be a file and a folder at once.
        with suppress(IsADirectoryError, NotADirectoryError, FileExistsError):
            house.write_inputs(path)
    layout = house.layout(output_names="whole")
    house.layout = lambda: layout
    due = house.due()
    house.publish(
        *(house.run_hook(path, {".json": path.encode("utf-8", "replace").hex()}) for path in due)
    )
    assert house.failed == {}
    assert sorted(house.outputs()) == sorted(path + ".json" for path in due)
    assert all(house.read_output(p + ".json") == p.encode("utf-8", "replace").hex() for p in due)
    assert house.due() == []
