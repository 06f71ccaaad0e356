"""One file that the hooks of all inputs add lines to: whole, each line once, in their order."""

import os
from pathlib import Path

import pytest
from run_fixture import Ask

from openai_parallel_toolkit import OutputConflict, UnsafePath, UsageError, append_line

INDEX = "name,first\nf0000,v1\nf0001,v1\nf0002,v1\nf0003,v1\n"


class Indexed(Ask):
    """Adds a row to index.csv beside its output, and a heading with the first."""

    version = "v1"
    broken = ()

    def process_output(self, data, output_file_without_ext):
        name = os.path.basename(output_file_without_ext)
        if name == "f0000":
            append_line("index.csv", "name,first")
        append_line("index.csv", f"{name},{self.version}\n")
        append_line("more/all.txt", name)
        super().process_output(data, output_file_without_ext)
        if name in self.broken:
            raise ValueError("no good")


def index(fixture):
    return (fixture.output / "index.csv").read_text()


def test_lines_of_all_inputs_are_in_their_order_and_are_no_business_of_what_is_skipped(
    fixture, sim
):
    fixture.inputs(4).configure(sim)
    for done in (4, 0):
        assert fixture.run(Indexed).done == done
        assert index(fixture) == INDEX
        assert (fixture.output / "more" / "all.txt").read_text().split() == [
            "f0000",
            "f0001",
            "f0002",
            "f0003",
        ]


def test_a_file_that_fails_adds_its_lines_once_it_is_done(fixture, sim, monkeypatch):
    fixture.inputs(4).configure(sim)
    monkeypatch.setattr(Indexed, "broken", ("f0002",))
    fixture.run(Indexed)
    assert index(fixture) == INDEX.replace("f0002,v1\n", "")
    monkeypatch.setattr(Indexed, "broken", ())
    fixture.run(Indexed)
    assert index(fixture) == INDEX


def test_lines_of_a_file_that_is_worked_on_again_take_the_place_of_the_old(
    fixture, sim, monkeypatch
):
    fixture.inputs(4).configure(sim).run(Indexed)
    monkeypatch.setattr(Indexed, "version", "v2")
    fixture.run(Indexed, force=True, pattern="f0001.txt")
    assert index(fixture) == INDEX.replace("f0001,v1", "f0001,v2")


def test_what_somebody_else_made_is_not_replaced_and_the_lines_are_kept(fixture, sim):
    fixture.inputs(4).configure(sim).output.mkdir()
    (fixture.output / "index.csv").write_text("mine")
    with pytest.raises(OutputConflict, match="append_line"):
        fixture.run(Indexed)
    assert index(fixture) == "mine"
    os.unlink(fixture.output / "index.csv")
    assert fixture.run(Indexed).calls.sent == 0
    assert index(fixture) == INDEX


def test_two_hooks_that_write_one_common_file_are_told_of_append_line(fixture, sim):
    class Appends(Ask):
        def process_output(self, data, output_file_without_ext):
            path = Path(output_file_without_ext).with_name("index.csv")
            with path.open("a") as out:
                out.write("a row\n")

    summary = fixture.inputs(3).configure(sim).run(Appends)
    assert (summary.done, summary.failed) == (1, 2)
    assert "add lines to one that all share with append_line" in summary.causes[0].words


def test_a_line_needs_a_hook_a_name_below_the_outputs_and_text(fixture, sim):
    with pytest.raises(UsageError, match="for the hooks of a ParallelToolkit"):
        append_line("index.csv", "row")
    refused = []

    class Wrong(Ask):
        def process_output(self, data, output_file_without_ext):
            for name, line in (("../index.csv", "row"), ("/index.csv", "row"), ("i", "\ud800")):
                with pytest.raises((UnsafePath, UsageError)):
                    append_line(name, line)
                refused.append(name)
            super().process_output(data, output_file_without_ext)

    assert fixture.inputs(1).configure(sim).run(Wrong).done == 1
    assert len(refused) == 3
