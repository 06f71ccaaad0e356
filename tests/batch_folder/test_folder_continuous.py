"""Continuous mode: new files are taken when they have stopped growing, until somebody stops it."""

from __future__ import annotations

import threading
import time

import pytest
from folder_fixture import a_line

from openai_parallel_toolkit.api.batch_folder.places import Inbox, Places
from openai_parallel_toolkit.files.stores import open_store
from openai_parallel_toolkit.simulator import Fault


@pytest.fixture
def inbox(tmp_path):
    names = ("in", "out", "err")
    stores = {
        kind: open_store(str(tmp_path / name))
        for kind, name in zip(("input", "output", "error"), names, strict=True)
    }
    (tmp_path / "in").mkdir()
    return Inbox(Places(**stores), "*.jsonl", waits_for_whole=True)


def names(found):
    return [one.path for one in found]


def test_a_file_is_taken_when_two_looks_have_seen_it_alike(inbox, tmp_path):
    path = tmp_path / "in" / "a.jsonl"
    path.write_text("1\n")
    assert names(inbox.look(())) == []
    assert inbox.is_unsettled
    path.write_text("1\n2\n")
    assert names(inbox.look(())) == []
    assert names(inbox.look(())) == ["a.jsonl"]
    assert not inbox.is_unsettled


def test_what_is_under_way_is_not_taken_again(inbox, tmp_path):
    (tmp_path / "in" / "a.jsonl").write_text("1\n")
    inbox.look(())
    assert names(inbox.look({"a.jsonl"})) == []


def test_files_that_the_pattern_does_not_take_are_named_once_with_the_setting(
    inbox, tmp_path, caplog
):
    for name in ("a.jsonl", "b.json", "c.txt", ".hidden"):
        (tmp_path / "in" / name).write_text("1\n")
    inbox.look(())
    inbox.look(())
    [told] = [record.getMessage() for record in caplog.records]
    assert "2 files are left" in told
    assert "'*.jsonl': b.json, c.txt; give another one with pattern (--pattern)" in told


def test_files_that_arrive_are_worked_on_until_it_is_stopped(fixture, sim):
    fixture.put("first.jsonl")
    folder = fixture.folder(continuous=True)
    watch = FolderThread(folder)
    watch.until(lambda: list(fixture.output.glob("first_2*/first.jsonl")))
    fixture.put("deep/second.jsonl")
    watch.until(lambda: list(fixture.output.glob("deep/second_2*/second.jsonl")))
    assert len(fixture.results("deep/second.jsonl")) == 3
    summary = watch.stop()
    assert (summary.done, summary.left) == (2, 0)
    assert sim.files.stored() == []


class FolderThread:
    """Runs a folder on a thread until it is stopped."""

    def __init__(self, folder):
        self._folder = folder
        self._summary = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        self._summary = self._folder.run()

    def until(self, is_so, within_s=40):
        limit_s = time.monotonic() + within_s
        while not is_so():
            assert self._thread.is_alive()
            assert time.monotonic() < limit_s, "it did not happen"
            time.sleep(0.01)

    def stop(self):
        self._folder.stop()
        self._thread.join(60)
        return self._summary


def test_many_nested_files_with_mistakes_among_them_and_more_that_arrive(fixture, sim, request):
    count = 200 if request.config.getoption("--full") else 80
    sound = count - 50
    sim.script.replace([Fault("400", path="#line", marker="poison")])
    names = [f"d{n % 5}/e{n % 3}/f{n:03}.jsonl" for n in range(count)]
    for name in names[:sound]:
        fixture.put(name)
    for name in names[sound : sound + 3]:
        fixture.put(name, a_line("x"), "{ malformed")
    fixture.put(names[sound + 3], a_line("good"), a_line("bad", "poison"))
    watch = FolderThread(fixture.folder(continuous=True, batch_size=20))
    for name in names[sound + 4 :]:
        fixture.put(name)
    watch.until(lambda: not fixture.waiting(), within_s=120)
    watch.until(lambda: not fixture.kept())
    summary = watch.stop()
    assert (summary.done, summary.partly_failed, summary.failed) == (count - 3, 1, 3)
    assert summary.lines_answered == (count - 4) * 3 + 1
    for name in (names[0], names[-1]):
        assert len(fixture.results(name)) == fixture.metadata(name)["lines"]["answered"] == 3
    for name in names[sound : sound + 3]:
        assert fixture.results(name, "error")[2]["code"] == "malformed_line"
    assert set(fixture.results(names[sound + 3], "error")) == {"bad"}
    assert sim.files.stored() == []
    assert len(sim.batches.batches()) == count - 3
