import os
import socket
import subprocess
import sys
import time
import unicodedata

import pytest
from work_fixture import WorkFixture

from openai_parallel_toolkit.core.errors import ScanError, SharedOutput, UnsafePath
from openai_parallel_toolkit.files.run_folders import lay_out


@pytest.fixture
def work(tmp_path):
    return WorkFixture(tmp_path)


def loose(name):
    return unicodedata.normalize("NFC", name).casefold()


def test_the_folder_is_walked_in_order_and_hidden_files_are_left_out(work):
    work.write_inputs("b.txt", "a.txt", "z/1.txt", "c/2.txt", "c/d/3.txt", ".h.txt", ".g/4.txt")
    assert work.due() == ["a.txt", "b.txt", "c/2.txt", "c/d/3.txt", "z/1.txt"]


def test_without_recursion_only_the_folder_itself_is_read(work):
    work.write_inputs("a.txt", "sub/b.txt")
    assert work.due(recursive=False) == ["a.txt"]


def test_pattern_and_exclude_choose_files_and_exclude_prunes_folders(work):
    work.write_inputs("a.txt", "b.md", "sub/c.txt", "drafts/d.txt")
    assert work.due(pattern=["*.txt"], exclude=["drafts"]) == ["a.txt", "sub/c.txt"]


def test_an_output_folder_inside_the_input_folder_is_never_input(tmp_path):
    work = WorkFixture(tmp_path)
    work.input = work.root
    work.write_inputs("in/a.txt", "top.txt")
    work.write_output("old.json")
    assert work.due() == ["top.txt", "in/a.txt"]


def test_done_files_are_skipped_while_their_outputs_are_there(work):
    work.write_inputs("a.txt", "b.txt", "sub/c.txt", "quiet.txt")
    work.journal.put("a.txt", "done", ("a.json",))
    work.journal.put("b.txt", "done", ("b.json", "b/part.json"))
    work.journal.put("sub/c.txt", "done", ("sub/c.json",))
    work.journal.put("quiet.txt", "done", ())
    for path in ("a.json", "b.json", "b/part.json", "sub/c.json"):
        work.write_output(path)
    plan = work.scan()
    assert (plan.total, plan.due_count, plan.skipped_done) == (4, 0, 4)
    plan.close()
    os.unlink(os.path.join(work.output, "b/part.json"))
    os.unlink(os.path.join(work.output, "sub/c.json"))
    assert work.due() == ["b.txt", "sub/c.txt"]


@pytest.mark.parametrize("state", ["open", "failed", "intent"])
def test_files_that_were_begun_are_due_even_if_a_file_of_their_name_exists(work, state):
    work.write_inputs("a.txt")
    work.write_output("a.json")
    work.journal.put("a.txt", state)
    assert work.due() == ["a.txt"]


def test_files_put_aside_wait_until_they_are_asked_for(work):
    work.write_inputs("a.txt", "b.txt")
    work.journal.put("a.txt", "aside")
    plan = work.scan()
    assert (plan.aside, [due.path for due in plan.due()]) == (1, ["b.txt"])
    plan.close()
    assert work.due(retry_failed=True) == ["a.txt", "b.txt"]


def test_an_output_that_nobody_recorded_counts_as_done(work):
    work.write_inputs("a.txt", "sub/b.c.txt", "n.txt", "m.txt")
    work.write_output("a.json")
    work.write_output("sub/b.c.md")
    work.write_output("m")
    work.write_output("n/x.json")  # a folder is no output
    plan = work.scan()
    assert (plan.skipped_existing, [due.path for due in plan.due()]) == (3, ["n.txt"])
    plan.close()


def test_under_whole_names_only_the_whole_name_counts(work):
    work.write_inputs("a.txt", "b.txt")
    work.write_output("a.json")
    work.write_output("b.txt.json")
    assert work.due(layout=work.layout(output_names="whole")) == ["a.txt"]


def test_force_makes_everything_due(work):
    work.write_inputs("a.txt", "b.txt", "c.txt")
    work.journal.put("a.txt", "done")
    work.journal.put("b.txt", "aside")
    work.write_output("c.json")
    assert work.due(force=True) == ["a.txt", "b.txt", "c.txt"]


def test_file_count_counts_only_what_is_due(work):
    work.write_inputs("a.txt", "b.txt", "c.txt", "d.txt")
    work.journal.put("a.txt", "done")
    plan = work.scan(file_count=2)
    assert ([due.path for due in plan.due()], plan.later, plan.total) == (["b.txt", "c.txt"], 1, 4)
    plan.close()


def test_two_inputs_with_one_output_are_found_with_the_way_out(work):
    work.write_inputs("ok.txt", "z/a.txt", "z/a.md")
    with pytest.raises(SharedOutput, match="output_names") as caught:
        work.scan(file_count=1)
    assert set(caught.value.inputs) == {"z/a.md", "z/a.txt"}
    assert len(work.due(layout=work.layout(output_names="whole"))) == 3


def test_names_that_the_output_cannot_tell_apart_are_refused(work):
    work.write_inputs("A.txt", "a.md")
    with pytest.raises(SharedOutput):
        work.scan(key=loose)
    assert work.due(key=str) == ["A.txt", "a.md"]


def test_folders_that_the_output_cannot_tell_apart_are_refused(work):
    work.write_inputs("caf\u00e9/a.txt", "cafe\u0301/b.txt")
    with pytest.raises(SharedOutput, match="folders"):
        work.scan(key=loose)
    assert len(work.due(key=str)) == 2


def test_special_files_are_never_opened_but_noted(work):
    work.write_inputs("a.txt", "far/b.txt")
    os.mkfifo(os.path.join(work.input, "pipe"))
    os.symlink("nowhere", os.path.join(work.input, "broken"))
    os.symlink("loop", os.path.join(work.input, "loop"))
    os.symlink("/dev/zero", os.path.join(work.input, "zero"))
    os.symlink("a.txt", os.path.join(work.input, "link.txt"))
    os.symlink("far", os.path.join(work.input, "near"))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(os.path.join(work.input, "sock"))
    plan = work.scan()
    assert [due.path for due in plan.due()] == ["a.txt", "link.txt", "far/b.txt"]
    assert plan.special == 5
    assert any("FIFO" in note for note in plan.notes)
    assert any("near" in note for note in plan.notes)
    plan.close()


def test_names_with_no_room_for_an_extension_are_noted(work):
    work.write_inputs("n" * 255, "m" * 251 + ".txt")
    plan = work.scan()
    assert plan.due_count == 2
    assert "2 names may be too long" in plan.notes[0]
    plan.close()


def test_a_link_where_outputs_would_go_is_refused_before_anything_is_paid(work, tmp_path):
    work.write_inputs("sub/deep/a.txt")
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", os.path.join(work.output, "sub"))
    with pytest.raises(UnsafePath, match="link"):
        work.scan()
    work.journal.put("sub/deep/a.txt", "done")
    assert work.due() == []


def test_no_file_at_all_is_said(work):
    with pytest.raises(ScanError, match="No input file"):
        work.scan()


def test_a_single_file_is_one_due_file(tmp_path):
    work = WorkFixture(tmp_path)
    work.write_inputs("a.txt", "a.md")
    layout = lay_out(os.path.join(work.input, "a.txt"), os.path.join(work.output, "b.json"))
    assert work.due(layout=layout) == ["a.txt"]
    work.write_output("b.json")
    plan = work.scan(layout=layout)
    assert plan.skipped_existing == 1
    plan.close()


def test_huge_folders_give_the_same_plan_from_disk(work):
    for number in range(60):
        work.write_inputs(f"f{number}.txt", f"d{number}/g.txt")
        if number % 3 == 0:
            work.write_output(f"f{number}.json")
        if number % 5 == 0:
            work.journal.put(f"f{number}.txt", "done", (f"f{number}.json",))
    assert work.due(in_memory=7) == work.due()
    assert os.listdir(work.state) == ["staging"]


def test_a_due_list_is_read_as_often_as_wanted(work):
    work.write_inputs(*(f"{number:04}" * 20 for number in range(1_000)))
    plan = work.scan()
    first, second = plan.due(), plan.due()
    assert next(first) == next(second)
    assert len(list(first)) == 999
    plan.close()


def test_an_unreadable_folder_is_named(tmp_path):
    """A folder deeper than the system's longest path cannot be read, even by root."""
    work = WorkFixture(tmp_path)
    here = os.open(work.input, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=here)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    with pytest.raises(ScanError, match="cannot be read"):
        work.scan()


def test_names_survive_the_c_locale(tmp_path):
    """Under LC_ALL=C, without UTF-8 mode, every name is scanned, published and found done."""
    here = os.path.dirname(__file__)
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    env["PYTHONPATH"] = os.pathsep.join([here, os.path.dirname(os.path.dirname(here))])
    code = """
import os, sys
from work_fixture import WorkFixture
assert sys.getfilesystemencoding() != "utf-8" or sys.platform == "darwin", "no C locale"
work = WorkFixture(sys.argv[1])
names = [b"caf\\xc3\\xa9.txt", b"\\xff\\xfe.txt", b"new\\nline.txt", "\\u5b57.txt".encode()]
for name in names:
    open(os.path.join(os.fsencode(work.input), name), "w").close()
due = work.due()
assert [os.fsencode(path) for path in due] == sorted(names)
work.publish(*(work.run_hook(path, {".json": "{}"}) for path in due))
assert sorted(os.listdir(os.fsencode(work.output)))[1:] == sorted(n[:-4] + b".json" for n in names)
assert work.due() == []
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_ten_thousand_files_take_less_than_two_seconds_of_the_processor(work):
    for folder in range(10):
        place = os.path.join(work.input, str(folder))
        os.mkdir(place)
        for number in range(1_000):
            os.close(os.open(os.path.join(place, f"{number}.txt"), os.O_CREAT | os.O_WRONLY))
    start = time.process_time()
    assert len(work.due()) == 10_000
    assert time.process_time() - start < 2.0
