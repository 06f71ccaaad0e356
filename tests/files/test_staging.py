import hashlib
import os

import pytest
from work_fixture import WorkFixture

from openai_parallel_toolkit.core.errors import UnsafePath
from openai_parallel_toolkit.files.staging import Staging


@pytest.fixture
def work(tmp_path):
    return WorkFixture(tmp_path)


def write(path, text="x"):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


def test_the_path_looks_like_the_final_one(work):
    staged = work.staging.begin("sub/a")
    assert staged.path_without_ext.endswith("/out/sub/a")
    assert os.path.isdir(os.path.dirname(staged.path_without_ext))


def test_what_was_written_is_listed_with_size_and_hash(work):
    staged = work.staging.begin("sub/a")
    write(staged.path_without_ext + ".json", "{}")
    write(staged.path_without_ext + "/part.txt", "")
    write(os.path.join(os.path.dirname(staged.path_without_ext), "index"), "i")
    outputs = staged.collect()
    assert [o.final for o in outputs] == ["sub/a.json", "sub/a/part.txt", "sub/index"]
    assert outputs[0].size_bytes == 2
    assert outputs[0].sha256 == hashlib.sha256(b"{}").hexdigest()
    assert all(os.path.isfile(work.staging.path_of(o)) for o in outputs)


def test_each_execution_has_its_own_folder_and_discard_removes_it(work):
    first, second = work.staging.begin("a"), work.staging.begin("a")
    write(first.path_without_ext + ".json")
    assert second.collect() == ()
    first.discard()
    second.discard()
    assert os.listdir(work.staging.root) == []


def link(path):
    os.symlink("/etc/passwd", path)


def folder_link(path):
    os.symlink("/etc", path)


def hard_link(path):
    write(path + ".first")
    os.link(path + ".first", path)


def above(path):
    write(os.path.join(os.path.dirname(path), "../escaped"))


@pytest.mark.parametrize("make", [link, folder_link, hard_link, os.mkfifo, above])
def test_only_ordinary_files_below_the_output_folder_are_taken(work, make):
    staged = work.staging.begin("a")
    make(staged.path_without_ext)
    with pytest.raises(UnsafePath):
        staged.collect()
    staged.discard()
    assert os.listdir(work.staging.root) == []


def test_staging_stays_on_the_outputs_file_system(tmp_path):
    output, state = tmp_path / "out", tmp_path / "state"
    output.mkdir()
    state.mkdir()
    staging = Staging(str(output), str(state))
    assert staging.root == str(output / ".openai_parallel_toolkit-staging")
    staging.close()
    assert os.listdir(output) == []


def test_what_dead_runs_left_is_swept(work):
    write(work.staging.begin("sub/a").path_without_ext + ".json")
    os.symlink("/etc", os.path.join(work.staging.root, "odd"))
    Staging(work.output, work.state).sweep()
    assert os.listdir(work.staging.root) == []
    assert os.path.exists("/etc/passwd")


def test_a_folder_whose_outputs_all_moved_away_serves_again(work):
    for number in range(3):
        work.publish(work.run_hook(f"sub/{number}.txt", {".json": "x", ".md": "y"}))
    assert len(os.listdir(work.staging.root)) == 1


@pytest.mark.parametrize("outputs", [{".json": "is refused"}, {"/deep.json": "in a folder"}])
def test_a_hook_finds_nothing_of_another_where_it_writes(work, outputs):
    work.write_output("a.json", "not ours")
    work.publish(work.run_hook("a.txt", outputs))
    place = work.staging.begin("b").path_without_ext
    assert os.listdir(os.path.dirname(place)) == []


@pytest.mark.parametrize("path", ["a", "sub/deeper/a"])
@pytest.mark.parametrize("steps", [1, 2, 3, 5, 9, 16])
def test_whatever_steps_above_its_output_folder_is_noticed(work, path, steps):
    staged = work.staging.begin(path)
    write(staged.path_without_ext + ".json")
    within = len(path.split("/")) - 1
    write(os.path.join(os.path.dirname(staged.path_without_ext), "../" * (within + steps), "x"))
    with pytest.raises(UnsafePath, match="above the output folder"):
        staged.collect()
    staged.discard()
    assert os.listdir(work.staging.root) == []


def test_a_folder_that_serves_again_notices_it_too(work):
    work.publish(work.run_hook("a.txt", {".json": "x"}))
    staged = work.staging.begin("b")
    write(os.path.join(os.path.dirname(staged.path_without_ext), "../../../x"))
    with pytest.raises(UnsafePath):
        staged.collect()


def test_what_lands_beside_all_executions_is_told_and_removed(work, caplog):
    write(os.path.join(work.staging.root, "escaped"))
    work.staging.close()
    assert "'escaped'" in caplog.text
    assert not os.path.exists(work.staging.root)


def test_a_hook_that_still_writes_at_the_end_leaves_nothing(work):
    hung, staged = work.staging.begin("a"), work.staging.begin("b")
    write(hung.path_without_ext)
    staged.collect()  # is still to be published
    work.staging.close()
    assert os.listdir(work.staging.root) == [os.path.basename(staged.path)]
    with pytest.raises(OSError, match="No such file"), open(hung.path_without_ext, "w"):
        pass
    hung.discard()
    staged.discard()
    assert not os.path.exists(work.staging.root)
