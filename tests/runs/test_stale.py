"""What was done before, and what of it still holds: outputs, inputs and the journal."""

import json
import os
import re
import shutil
import sqlite3
import threading
import time
from pathlib import Path
from typing import ClassVar

import pytest
from run_fixture import Ask

from openai_parallel_toolkit import append_line

STATE = ".openai_parallel_toolkit"


class Suffixed(Ask):
    """Writes outputs whose names begin with the input's and go on."""

    def process_output(self, data, output_file_without_ext):
        super().process_output(data, output_file_without_ext + "_summary")


class Flaky(Ask):
    """Fails for the files whose names are in `bad`."""

    bad = ()

    def process_data(self, data):
        answers = super().process_data(data)
        if any(f"file {n}:" in data for n in self.bad):
            raise ValueError("bad")
        return answers


@pytest.fixture
def copy(fixture, tmp_path):
    """Copies of the state folder: `save` one, `restore` it, or `lose` the folder."""

    class Copy:
        state = fixture.output / STATE
        kept = tmp_path / "copy"

        def save(self):
            shutil.copytree(self.state, self.kept)

        def restore(self):
            self.lose()
            shutil.copytree(self.kept, self.state)

        def lose(self):
            shutil.rmtree(self.state)

    return Copy()


def wait_for_file_times_after(wall_s, probe):
    """File systems tell the time of a change by a clock that moves on every few milliseconds."""
    probe.touch()
    while probe.stat().st_ctime <= wall_s:
        probe.touch()


def check_settled(fixture, sim, kind, **settings):
    """A run more finds nothing to do, to pay or to tell; no output is touched."""
    billed, before = sim.ledger.billed("good"), fixture.outputs()
    summary = fixture.run(kind, **settings)
    assert (summary.done, summary.failed, summary.left) == (0, 0, 0)
    assert summary.notices.found_outputs == 0
    assert (sim.ledger.billed("good"), fixture.outputs()) == (billed, before)
    return summary


@pytest.mark.parametrize("kind", [Ask, Suffixed])
def test_after_an_old_journal_came_back_outputs_count_as_done(fixture, sim, copy, kind):
    fixture.inputs(4).configure(sim).run(kind)
    copy.save()
    fixture.inputs(9).run(kind)
    before = fixture.outputs()
    copy.restore()
    summary = fixture.run(kind)
    assert (summary.done, summary.skipped, summary.failed) == (0, 9, 0)
    assert summary.notices.found_outputs == 5
    assert "5 files done by outputs that were there" in str(summary)
    assert (sim.ledger.billed("good"), fixture.outputs()) == (9, before)
    assert check_settled(fixture, sim, kind).skipped == 9


def test_files_that_the_old_journal_holds_as_failed_or_aside_count_as_well(fixture, sim, copy):
    Flaky.bad = (0, 1, 2)
    fixture.inputs(4).configure(sim).run(Flaky)
    fixture.run(Flaky, max_file_attempts=2)
    copy.save()
    Flaky.bad = (2,)
    fixture.run(Flaky, retry_failed=True)
    before = fixture.outputs()
    copy.restore()
    summary = fixture.run(Flaky)
    assert (summary.done, summary.skipped, summary.failed, summary.aside) == (0, 3, 0, 1)
    assert summary.notices.found_outputs == 2
    Flaky.bad = ()
    summary = fixture.run(Flaky, retry_failed=True)
    assert (summary.done, summary.skipped) == (1, 3)
    assert {name: fixture.outputs()[name] for name in before} == before
    assert sim.ledger.billed("good") == 4


def test_a_copy_that_was_taken_while_files_were_worked_on(fixture, sim, copy):
    """What was in progress in the copy and finished after it is neither paid nor made again."""

    taking = threading.Lock()

    class Copies(Ask):
        def process_output(self, data, output_file_without_ext):
            with taking:  # the others finish after it as well
                if not copy.kept.exists():
                    self.take()
            super().process_output(data, output_file_without_ext)

        def take(self):
            copy.kept.mkdir()
            source = sqlite3.connect(copy.state / "journal.sqlite3")
            target = sqlite3.connect(copy.kept / "journal.sqlite3")
            source.backup(target)
            source.close()
            target.close()
            shutil.copy(copy.state / "open-files", copy.kept)
            wait_for_file_times_after(time.time(), copy.kept.parent / "probe")

    fixture.inputs(6).configure(sim).run(Copies, num_threads=3)
    before = fixture.outputs()
    copy.restore()
    summary = fixture.run(Copies)
    assert (summary.done, summary.skipped, summary.failed) == (0, 6, 0)
    assert (sim.ledger.billed("good"), fixture.outputs()) == (6, before)
    check_settled(fixture, sim, Copies)


def test_without_any_journal_outputs_count_as_done(fixture, sim, copy):
    fixture.inputs(5).configure(sim).run()
    copy.lose()
    summary = fixture.run(dry_run=True)
    assert (summary.skipped, summary.would_send) == (5, 0)
    summary = fixture.run()
    assert (summary.skipped, summary.notices.found_outputs) == (5, 5)
    assert check_settled(fixture, sim, Ask).skipped == 5
    (fixture.output / "f0002.json").unlink()
    assert fixture.run().done == 1
    assert sim.ledger.billed("good") == 6


def test_without_any_journal_outputs_of_other_names_are_paid_for_once_at_most(fixture, sim, copy):
    fixture.inputs(40).configure(sim).run(Suffixed)
    before = fixture.outputs()
    copy.lose()
    summary = fixture.run(Suffixed, num_threads=2)
    assert (summary.failed, summary.left, summary.notices.found_outputs) == (0, 0, 40)
    assert fixture.outputs() == before
    assert sim.ledger.billed("good") < 60  # those under way until the first was finished
    check_settled(fixture, sim, Suffixed)


def test_what_a_hook_wrote_by_itself_does_not_make_its_failed_file_done(fixture, sim):
    """An output that a failed hook left behind, past the toolkit, may be a part."""

    class Direct(Flaky):
        def process_data(self, data):
            number = re.search(r"file (\d+)", data)[1]
            (fixture.output / f"f{int(number):04}.txt").write_text("a part")
            return super().process_data(data)

    Flaky.bad = (1,)
    assert fixture.inputs(2).configure(sim).run(Direct).failed == 1
    Flaky.bad = ()
    assert fixture.run(Direct).done == 1


def test_force_makes_anew_what_was_found(fixture, sim, copy):
    fixture.inputs(3).configure(sim).run()
    copy.lose()
    fixture.run()
    assert fixture.run(force=True).done == 3
    assert sim.ledger.billed("good") == 6


# Inputs


def edit(path):
    path.write_text(path.read_text().replace("brown", "green"))


def touch(path, by_s=10):
    seen = path.stat()
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns + by_s * 10**9))


def test_inputs_that_were_edited_since_are_told_and_left(fixture, sim):
    fixture.inputs(6).configure(sim).run()
    before = fixture.outputs()
    for n in (1, 4):
        edit(fixture.input / f"f000{n}.txt")
    (fixture.input / "f0005.txt").write_text("longer than before, by quite a lot of characters")
    for _ in range(2):
        summary = fixture.run()
        assert (summary.skipped, summary.notices.changed_inputs) == (6, 3)
        assert "Changed: 3 inputs since their outputs were made (first 'f0001.txt')" in str(summary)
        assert "--on-changed-input redo" in str(summary)
    assert (fixture.outputs(), sim.ledger.billed("good")) == (before, 6)


def test_edited_inputs_are_worked_on_when_that_is_asked_for(fixture, sim):
    fixture.inputs(4).configure(sim).run()
    edit(fixture.input / "f0002.txt")
    assert fixture.run(dry_run=True, on_changed_input="redo").would_send == 1
    summary = fixture.run(on_changed_input="redo")
    assert (summary.done, summary.skipped, summary.notices.changed_inputs) == (1, 3, 0)
    assert sim.ledger.billed("good") == 5
    summary = fixture.run()
    assert (summary.skipped, summary.notices.changed_inputs) == (4, 0)


def test_a_touched_input_is_no_change_and_is_read_once(fixture, sim):
    fixture.inputs(3).configure(sim).run()
    path = fixture.input / "f0001.txt"
    touch(path)
    assert fixture.run().notices.changed_inputs == 0
    learned = fixture.signatures()["f0001.txt"]
    assert f"-{path.stat().st_mtime_ns}:" in learned
    path.write_text(path.read_text().replace("brown", "green"))
    os.utime(path, ns=(0, int(learned.partition("-")[2].partition(":")[0])))
    assert fixture.run().notices.changed_inputs == 0  # size and time are as before: not read


def test_a_dry_run_learns_nothing(fixture, sim, copy):
    fixture.inputs(2).configure(sim).run()
    touch(fixture.input / "f0000.txt")
    before = fixture.signatures()
    fixture.run(dry_run=True)
    assert fixture.signatures() == before


def test_an_input_found_done_is_watched_from_then_on(fixture, sim, copy):
    fixture.inputs(2).configure(sim).run()
    copy.lose()
    fixture.run()
    edit(fixture.input / "f0000.txt")
    assert fixture.run().notices.changed_inputs == 1


# What hooks write


class Quiet(Ask):
    """Writes what `texts` says of a file, nothing where it says nothing."""

    texts: ClassVar = {}

    def process_output(self, data, output_file_without_ext):
        text = self.texts.get(Path(output_file_without_ext).name[-1], "whole")
        if text is not None:
            Path(output_file_without_ext + ".txt").write_bytes(text.encode())


def test_files_that_wrote_nothing_and_empty_outputs_are_told_in_every_run(fixture, sim):
    Quiet.texts = {"0": None, "1": None, "2": "", "3": " \n\t\n", "4": "\n" * 3_000_000}
    fixture.inputs(7).configure(sim)
    for done, skipped in ((7, 0), (0, 7)):
        summary = fixture.run(Quiet)
        assert (summary.done, summary.skipped) == (done, skipped)
        notices = summary.notices
        assert (notices.wrote_nothing, notices.blank_outputs) == (2, 3)
        assert str(summary).count("2 files wrote nothing (first 'f000") == 1
        assert str(summary).count("3 outputs are empty (first 'f000") == 1
    Quiet.texts = {}
    summary = fixture.run(Quiet, force=True)
    assert (summary.notices.wrote_nothing, summary.notices.blank_outputs) == (0, 0)
    assert sim.ledger.billed("good") == 7
    assert "Empty" not in str(fixture.run(Quiet))


def test_a_hook_that_only_adds_lines_wrote_something(fixture, sim):
    class Lines(Ask):
        def process_output(self, data, output_file_without_ext):
            append_line("all.csv", "a line")

    fixture.inputs(3).configure(sim)
    for _ in range(2):
        assert fixture.run(Lines).notices.wrote_nothing == 0


def appending(place):
    class Appends(Ask):
        def process_output(self, data, output_file_without_ext):
            with open(place(output_file_without_ext), "a") as out:
                out.write("a line\n")

    return Appends


def test_a_file_that_hooks_append_to_is_refused_with_the_way(fixture, sim):
    beside = appending(lambda path: os.path.join(os.path.dirname(path), "all.csv"))
    summary = fixture.inputs(4).configure(sim).run(beside)
    assert (summary.done, summary.failed) == (1, 3)
    lines = Path(summary.failures_path).read_text().splitlines()
    assert all("append_line" in json.loads(line)["message"] for line in lines)


@pytest.mark.parametrize("where", ["output folder", "current folder"])
def test_a_file_that_hooks_append_to_past_the_toolkit_is_told_with_the_way(
    fixture, sim, tmp_path, monkeypatch, where
):
    monkeypatch.chdir(tmp_path)
    place = fixture.output / "all.csv" if where == "output folder" else "all.csv"
    summary = fixture.inputs(4).configure(sim).run(appending(lambda _: place))
    assert summary.notices.wrote_nothing == 4
    assert "4 files wrote nothing" in str(summary)
    assert "append_line" in str(summary)
    assert summary.notices.stray_outputs == (where == "output folder")
    assert ("(first 'all.csv')" in str(summary)) == (where == "output folder")


def test_without_a_display_notices_are_logged_once(fixture, sim, caplog):
    Quiet.texts = {"0": None}
    fixture.inputs(1).configure(sim).run(Quiet)
    assert caplog.text.count("1 file wrote nothing") == 1


class Indexed(Ask):
    """Adds a line to a common file besides its output."""

    def process_output(self, data, output_file_without_ext):
        super().process_output(data, output_file_without_ext)
        append_line("index.csv", Path(output_file_without_ext).name)


@pytest.mark.parametrize("way", ["restore", "lose"])
def test_lines_of_files_that_were_found_done_stay_in_the_common_file(fixture, sim, copy, way):
    fixture.inputs(3).configure(sim).run(Indexed)
    copy.save()
    fixture.inputs(6).run(Indexed)
    getattr(copy, way)()
    for count in (6, 7, 7):
        fixture.inputs(count).run(Indexed)
        lines = (fixture.output / "index.csv").read_text().split()
        assert sorted(lines) == [f"f{n:04}" for n in range(count)]
    assert sim.ledger.billed("good") == 7
