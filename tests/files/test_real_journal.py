"""The work goes hand in hand with the journal itself."""

import os

import pytest
from work_fixture import WorkFixture

from openai_parallel_toolkit.journal import Journal
from openai_parallel_toolkit.journal.schema import connect

NASTY = [
    os.fsdecode(name)
    for name in (
        b"\xff.txt",
        b"\x80a.txt",
        "é.txt".encode(),
        "😀.txt".encode(),
        "\ue000.txt".encode(),
    )
] + ["a.txt", "A.txt", "a-b.txt", "a b.txt", "new\nline.txt", "sub/c.txt", "sub/\udcfe.txt"]


class RealJournal:
    """The journal, and what a scan asks of it."""

    def __init__(self, folder):
        self.statements = []
        self.journal = Journal.open(folder, connect=self._connect)

    def _connect(self, path):
        db = connect(path)
        db.set_trace_callback(self.statements.append)
        return db

    def suffixes(self):
        return ()

    def __getattr__(self, name):
        return getattr(self.journal, name)

    def id_of(self, path):
        return self.journal.file(path).id

    def records_in(self, folder):
        return self.journal.files_in(folder)

    def is_let_go(self, record):
        return False


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    journal = RealJournal(str(folder))
    journal.begin_run("v1")
    yield WorkFixture(tmp_path, journal)
    journal.end_run("finished", {})
    journal.close()


def test_every_record_meets_its_file_whatever_the_names(work):
    work.write_inputs(*NASTY)
    due = work.due()
    assert sorted(due) == sorted(NASTY)
    work.publish(
        *(
            work.run_hook(path, {".out": path.encode().hex() if path.isascii() else "x"})
            for path in due
        )
    )
    assert work.failed == {}
    plan = work.scan(in_memory=3)
    assert (plan.due_count, plan.skipped_done) == (0, len(NASTY))
    plan.close()


def test_a_dead_runs_intent_is_finished(work):
    work.write_inputs("a.txt", "b.txt")
    for path in ("a.txt", "b.txt"):
        file = work.run_hook(path, {".json": path})
        work.journal.intent(file.file_id, file.outputs)
    work.journal.flush()
    os.unlink(work.staging.path_of(file.outputs[0]))
    rolled = work.roll_forward()
    assert (rolled.done, rolled.again) == (("a.txt",), ("b.txt",))
    assert work.due() == ["b.txt"]
    work.publish(work.run_hook("b.txt", {".json": "again"}))
    assert work.due() == []
    assert work.outputs() == ["a.json", "b.json"]


def test_a_file_that_failed_half_way_keeps_its_outputs(work):
    work.write_inputs("a.txt")
    os.mkdir(os.path.join(work.output, "a.md"))
    work.publish(work.run_hook("a.txt", {".json": "1", ".md": "2"}), force=True)
    assert work.outputs() == ["a.json"]
    os.rmdir(os.path.join(work.output, "a.md"))
    work.publish(work.run_hook("a.txt", {".json": "3", ".md": "4"}))
    assert (work.read_output("a.json"), work.read_output("a.md")) == ("3", "4")


def test_a_scan_of_finished_files_asks_the_journal_by_folder_and_not_by_file(work):
    paths = [f"sub/{number:03}.txt" for number in range(120)]
    work.write_inputs(*paths)
    work.publish(*(work.run_hook(path, {".out": "x", ".log": "y"}) for path in work.due()))
    work.journal.statements.clear()
    plan = work.scan()
    assert (plan.due_count, plan.skipped_done) == (0, 120)
    assert len(work.journal.statements) < 20
    plan.close()


def test_of_several_outputs_each_is_looked_for(work):
    work.write_inputs("a.txt", "b.txt", "c.txt")
    suffixes = {".one": "1", ".two": "2", "/deep.three": "3"}
    work.publish(*(work.run_hook(path, suffixes) for path in work.due()))
    assert work.due() == []
    os.unlink(os.path.join(work.output, "a.two"))
    os.unlink(os.path.join(work.output, "c/deep.three"))
    assert work.due() == ["a.txt", "c.txt"]
