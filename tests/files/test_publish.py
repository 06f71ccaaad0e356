import errno
import os
import subprocess
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from work_fakes import RefusingFiles, storage_refusal
from work_fixture import WorkFixture

from openai_parallel_toolkit.core.errors import OutputConflict, StorageError, UnsafePath, UsageError
from openai_parallel_toolkit.core.filesystem import Files
from openai_parallel_toolkit.core.records import FileState, OutputFile
from openai_parallel_toolkit.files.output_tree import OutputTree


@pytest.fixture
def work(tmp_path):
    return WorkFixture(tmp_path)


def test_outputs_appear_whole_under_their_names_and_the_file_is_done(work):
    files = [work.run_hook(f"sub/{n}.txt", {".json": str(n), "/p.md": "p"}) for n in range(5)]
    assert work.outputs() == []
    work.publish(*files)
    assert work.failed == {}
    assert sorted(work.done) == [f"sub/{n}.txt" for n in range(5)]
    assert work.read_output("sub/3.json") == "3"
    assert len(work.outputs()) == 10
    assert set(work.journal.states.values()) == {FileState.DONE}
    assert os.listdir(work.staging.root) == []


def test_a_hook_that_wrote_nothing_is_done_by_the_journal_alone(work):
    work.publish(work.run_hook("a.txt", {}))
    assert work.done == ["a.txt"]
    assert work.journal.open_intents == {}
    assert work.outputs() == []


def test_a_hook_that_no_longer_writes_is_not_asked_for_its_old_outputs(work):
    work.write_inputs("a.txt")
    work.publish(work.run_hook("a.txt", {".json": "old"}))
    os.unlink(os.path.join(work.output, "a.json"))
    assert work.due() == ["a.txt"]
    work.publish(work.run_hook("a.txt", {}))
    assert work.due() == []


def test_done_comes_after_intent_and_both_are_told_after_the_commit(work):
    work.publish(work.run_hook("a.txt", {".json": "1"}))
    assert [kind for kind, *_ in work.journal.log] == ["id", "intent", "done"]


def test_two_files_of_one_batch_that_write_the_same_output_conflict(work):
    a, b = work.run_hook("a.txt", {"/../same": "a"}), work.run_hook("b.txt", {"/../same": "b"})
    work.publish(a, b)
    assert work.read_output("same") == "a"
    assert isinstance(work.failed["b.txt"], OutputConflict)


def test_an_output_of_another_file_is_never_replaced(work):
    work.publish(work.run_hook("a.txt", {"/../same": "a"}))
    work.publish(work.run_hook("b.txt", {"/../same": "b"}), force=True)
    assert work.read_output("same") == "a"
    assert isinstance(work.failed["b.txt"], OutputConflict)
    assert os.listdir(work.staging.root) == []


def test_a_file_replaces_its_own_output(work):
    work.publish(work.run_hook("a.txt", {".json": "old", ".md": "kept"}))
    work.publish(work.run_hook("a.txt", {".json": "new"}))
    assert work.read_output("a.json") == "new"
    assert work.read_output("a.md") == "kept"


def test_a_file_of_the_users_is_replaced_only_by_force(work):
    work.write_output("a.json", "mine")
    work.publish(work.run_hook("a.txt", {".json": "new"}))
    assert isinstance(work.failed["a.txt"], OutputConflict)
    assert work.read_output("a.json") == "mine"
    work.publish(work.run_hook("a.txt", {".json": "new"}), force=True)
    assert work.read_output("a.json") == "new"


def test_names_that_the_file_system_takes_for_the_same_conflict(work):
    a, b = work.run_hook("a.txt", {"/../Same": "a"}), work.run_hook("b.txt", {"/../same": "b"})
    publisher = work.publisher(key=str.casefold)
    with publisher._changed:  # both in one batch
        publisher._waiting.extend([a, b])
        publisher._changed.notify()
    publisher.close()
    assert isinstance(work.failed["b.txt"], OutputConflict)


def finished_with(work, final):
    file = work.run_hook("a.txt", {".json": "x"})
    staged = file.outputs[0]
    outputs = (
        OutputFile(
            staged=staged.staged, final=final, size_bytes=staged.size_bytes, sha256=staged.sha256
        ),
    )
    return work.finished("a.txt", file.staged, outputs)


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
def test_no_output_leaves_the_output_folder(work, tmp_path, final):
    (tmp_path / "elsewhere").mkdir()
    work.write_output("file", "f")
    work.write_output("real/x", "f")
    os.symlink(tmp_path / "elsewhere", os.path.join(work.output, "link"))
    os.symlink("real", os.path.join(work.output, "inner"))
    before = work.outputs()
    work.publish(finished_with(work, final), force=True)
    assert isinstance(work.failed["a.txt"], UnsafePath)
    assert work.outputs() == before
    assert os.listdir(tmp_path / "elsewhere") == []


def test_inputs_are_never_replaced(tmp_path):
    work = WorkFixture(tmp_path)
    work.write_inputs("deep/a.json", text="mine")
    tree_root = work.root  # the input folder lies inside the output folder
    work.tree = OutputTree(tree_root, closed=[work.state, work.input])
    work.publish(finished_with(work, "in/deep/a.json"), force=True)
    assert isinstance(work.failed.pop("a.txt"), UnsafePath)
    single = os.path.join(work.input, "deep", "a.json")
    work.tree = OutputTree(work.input, closed=[single])
    work.publish(finished_with(work, "deep/a.json"), force=True)
    assert isinstance(work.failed["a.txt"], UnsafePath)
    with open(single) as file:
        assert file.read() == "mine"


def test_a_link_that_is_put_in_after_the_check_leads_nowhere(work, tmp_path):
    """The folder is swapped for a link between the check and the move."""
    (tmp_path / "elsewhere").mkdir()
    file = work.run_hook("sub/a.txt", {".json": "x"})
    os.mkdir(os.path.join(work.output, "sub"))

    class Swapping(type(work.journal)):
        def intent(self, *args):
            os.rmdir(os.path.join(work.output, "sub"))
            os.symlink(tmp_path / "elsewhere", os.path.join(work.output, "sub"))
            super().intent(*args)

    journal = Swapping()
    journal.ids = work.journal.ids
    work.journal = journal
    work.publish(file)
    assert isinstance(work.failed["sub/a.txt"], UnsafePath)
    assert os.listdir(tmp_path / "elsewhere") == []


def test_a_link_under_the_final_name_is_replaced_and_not_followed(work, tmp_path):
    (tmp_path / "target").write_text("mine")
    os.symlink(tmp_path / "target", os.path.join(work.output, "a.json"))
    work.publish(work.run_hook("a.txt", {".json": "new"}), force=True)
    assert (tmp_path / "target").read_text() == "mine"
    assert work.read_output("a.json") == "new"


def test_one_file_that_cannot_be_moved_does_not_hold_the_others(work):
    os.mkdir(os.path.join(work.output, "b.json"))
    files = [work.run_hook(f"{n}.txt", {".json": n}) for n in "abc"]
    files.append(work.run_hook("long.txt", {"/" + "n" * 255: "x"}))
    too_long = OutputFile(
        staged=files[3].outputs[0].staged, final="n" * 256, size_bytes=1, sha256="0"
    )
    files[3] = work.finished("long.txt", files[3].staged, (too_long,))
    publisher = work.publish(*files, force=True)
    assert sorted(work.done) == ["a.txt", "c.txt"]
    assert work.failed["b.txt"].errno == errno.EISDIR
    assert work.failed["long.txt"].errno == errno.ENAMETOOLONG
    assert publisher.trouble is None


@pytest.mark.parametrize("action", ["sync", "move", "sync_folder"])
def test_a_full_disk_fails_the_file_and_is_told_as_trouble(work, action):
    files = [work.run_hook("bad/a.txt", {".json": "a"}), work.run_hook("b.txt", {".json": "b"})]
    work.tree.files = RefusingFiles(errno.ENOSPC, action, "bad")
    publisher = work.publish(*files)
    work.tree.files = Files()
    assert work.done == ["b.txt"]
    assert isinstance(work.failed["bad/a.txt"], StorageError)
    assert isinstance(publisher.trouble, StorageError)
    assert work.journal.states[work.journal.id_of("bad/a.txt")] is FileState.INTENT
    work.roll_forward()
    if work.journal.states[work.journal.id_of("bad/a.txt")] is not FileState.DONE:
        work.publish(work.run_hook("bad/a.txt", {".json": "a"}))
    assert work.read_output("bad/a.json") == "a"


def test_a_commit_that_fails_fails_its_file_alone(work):
    a, b = work.run_hook("a.txt", {".json": "a"}), work.run_hook("b.txt", {".json": "b"})
    work.journal.refuse[a.file_id] = storage_refusal()
    work.publish(a, b)
    assert (work.done, list(work.failed)) == (["b.txt"], ["a.txt"])
    assert work.outputs() == ["b.json"]


def test_what_breaks_the_publisher_is_raised_at_close(work):
    publisher = work.publisher()
    work.journal.refuse[1] = ZeroDivisionError("broken")
    publisher.publish(work.run_hook("a.txt", {".json": "a"}))
    with pytest.raises(ZeroDivisionError):
        publisher.close()
    with pytest.raises(UsageError):
        publisher.publish(work.run_hook("b.txt", {}))


def test_a_small_disk_that_fills_up_loses_nothing(tmp_path):
    """On a real file system of one megabyte: what is done is whole, the rest can be run again."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs the right to mount")
    try:
        work = WorkFixture(place)
        text = "y" * 150_000
        for number in range(12):
            try:
                file = work.run_hook(f"{number}.txt", {".json": text})
            except OSError as exc:
                refusal = exc.errno
                break
            work.publish(file)
        else:
            pytest.fail("the disk never filled up")
        assert refusal == errno.ENOSPC
        assert work.failed == {}
        assert all(work.read_output(name) == text for name in work.outputs())
        assert work.roll_forward().again == ()
        assert os.listdir(work.staging.root) == []
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
    work = WorkFixture(tmp_path_factory.mktemp("round"))
    for path in paths:
        # One name may be a file and a folder at once.
        with suppress(IsADirectoryError, NotADirectoryError, FileExistsError):
            work.write_inputs(path)
    layout = work.layout(output_names="whole")
    work.layout = lambda: layout
    due = work.due()
    work.publish(
        *(work.run_hook(path, {".json": path.encode("utf-8", "replace").hex()}) for path in due)
    )
    assert work.failed == {}
    assert sorted(work.outputs()) == sorted(path + ".json" for path in due)
    assert all(work.read_output(p + ".json") == p.encode("utf-8", "replace").hex() for p in due)
    assert work.due() == []
