"""A hook can ask which file it works on; the place where outputs wait is kept out of them."""

import json
import os
from pathlib import Path

import pytest
from run_fixture import Ask

from openai_parallel_toolkit import CarryingPool, UsageError, append_line, current_file


class Told(Ask):
    """Writes what each hook, and a thread of its own, is told."""

    def process_input(self, file):
        self.first = current_file()
        return file.read()

    def process_data(self, data):
        with CarryingPool(1) as pool:
            return [current_file(), pool.submit(current_file).result()]

    def process_output(self, data, output_file_without_ext):
        assert data == [current_file()] * 2
        told = current_file()
        Path(output_file_without_ext + ".json").write_text(
            json.dumps([told.name, told.input_path, told.output_path])
        )


class AsyncTold(Told):
    async def process_data(self, data):
        return [current_file()] * 2


@pytest.mark.parametrize("kind", [Told, AsyncTold])
def test_a_hook_is_told_names_that_hold_after_the_run(fixture, sim, monkeypatch, kind):
    monkeypatch.chdir(fixture.root)
    (fixture.input / "sub").mkdir()
    (fixture.input / "sub" / "a.b.txt").write_text("x")
    fixture.inputs(1).configure(sim)
    kind(fixture.config, "in", "out", progress=False).run()
    for name, output in (("f0000.txt", "f0000.json"), ("sub/a.b.txt", "sub/a.b.json")):
        told = json.loads(fixture.outputs()[output])
        assert told == [name, str(fixture.input / name), str(fixture.output / output)[:-5]]
        assert os.path.exists(told[2] + ".json")


def test_the_only_input_and_its_named_output_are_told(fixture, sim):
    fixture.inputs(1).configure(sim)
    output = fixture.root / "results" / "mine.json"
    Told(fixture.config, fixture.input / "f0000.txt", output, progress=False).run()
    assert json.loads(output.read_text()) == [
        "f0000.txt",
        str(fixture.input / "f0000.txt"),
        str(fixture.root / "results" / "mine"),
    ]


def test_outside_of_hooks_it_says_so():
    with pytest.raises(UsageError, match="current_file"):
        current_file()


def naming(text_of):
    """Hooks that write a text which they make of the path they are given."""

    class Names(Ask):
        def process_output(self, data, output_file_without_ext):
            text = text_of(output_file_without_ext)
            Path(output_file_without_ext + ".csv").write_text(text)

    return Names


class AddsLine(Ask):
    def process_output(self, data, output_file_without_ext):
        Path(output_file_without_ext + ".txt").write_text("fine")
        append_line("all.csv", f"{output_file_without_ext},1")


@pytest.mark.parametrize(
    "kind",
    [
        naming(lambda path: f"path\n{path}.csv\n"),
        naming(lambda path: json.dumps({"é": path})),
        naming(lambda path: "x" * 2_000_000 + os.path.dirname(path)),
        naming(os.path.relpath),
        AddsLine,
    ],
)
def test_outputs_that_name_the_place_where_they_waited_are_told(fixture, sim, kind):
    summary = fixture.inputs(3).configure(sim).run(kind)
    assert (summary.done, summary.notices.staging_names) == (3, 3)
    assert "current_file()" in str(summary)


def test_outputs_that_name_where_they_are_pass(fixture, sim):
    summary = fixture.inputs(2).configure(sim).run(naming(lambda _: current_file().output_path))
    assert summary.notices.staging_names == 0
    assert fixture.outputs()["f0001.csv"].decode() == str(fixture.output / "f0001")


def opening(path_of, *, makes_folders=False):
    """Hooks that build a path of their own from the one they are given."""

    class Opens(Ask):
        def process_output(self, data, output_file_without_ext):
            path = path_of(output_file_without_ext) + ".txt"
            if makes_folders:
                os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as out:
                out.write("text")

    return Opens


@pytest.mark.parametrize(
    "path_of",
    [lambda path: "results/" + path, lambda path: str(Path(path).relative_to("/elsewhere"))],
)
def test_a_path_that_is_built_from_the_given_one_fails_with_the_way(fixture, sim, path_of):
    summary = fixture.inputs(2).configure(sim).run(opening(path_of))
    assert summary.failed == 2
    lines = Path(summary.failures_path).read_text().splitlines()
    assert all("current_file()" in json.loads(line)["message"] for line in lines)


def test_what_was_written_elsewhere_under_such_a_path_is_told(fixture, sim, monkeypatch):
    monkeypatch.chdir(fixture.root)
    hooks = opening(lambda path: "results/" + path, makes_folders=True)
    summary = fixture.inputs(2).configure(sim).run(hooks)
    assert summary.notices.wrote_nothing == 2
    assert "Outputs are what a hook writes below output_file_without_ext" in str(summary)
