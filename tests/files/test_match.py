import os

import pytest

from openai_parallel_toolkit.core.errors import ConfigError, ScanError
from openai_parallel_toolkit.files.match import Layout, matches
from openai_parallel_toolkit.files.run_folders import lay_out


@pytest.mark.parametrize(
    ("glob", "path", "fits"),
    [
        ("*.txt", "a.txt", True),
        ("*.txt", "sub/deep/a.txt", True),
        ("*.txt", "a.md", False),
        ("sub/*.txt", "sub/a.txt", True),
        ("sub/*.txt", "sub/deep/a.txt", False),
        ("sub/*.txt", "other/sub/a.txt", False),
        ("**/a.txt", "a.txt", True),
        ("**/a.txt", "sub/deep/a.txt", True),
        ("sub/**", "sub/deep/a.txt", True),
        ("sub/**/*.txt", "sub/a.txt", True),
        ("sub/**/*.txt", "subway/a.txt", False),
        ("A.txt", "a.txt", False),
        ("[ab].txt", "b.txt", True),
        ("line\nbreak*", "line\nbreak.txt", True),
    ],
)
def test_a_glob_matches_the_name_or_with_a_slash_the_path(glob, path, fits):
    assert matches(path, [glob]) is fits


@pytest.mark.parametrize(
    ("naming", "path", "base"),
    [
        ("stem", "a.txt", "a"),
        ("stem", "sub/a.tar.gz", "sub/a.tar"),
        ("stem", "plain", "plain"),
        ("whole", "sub/a.txt", "sub/a.txt"),
    ],
)
def test_outputs_are_called_after_the_stem_or_the_whole_name(naming, path, base):
    layout = Layout(input_root="in", output_root="out", output_names=naming)
    assert layout.without_ext(path) == base


def test_another_naming_is_refused():
    with pytest.raises(ConfigError, match="output_names"):
        Layout(input_root="in", output_root="out", output_names="both")


def test_a_single_file_may_name_its_output(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    layout = lay_out(str(tmp_path / "a.txt"), str(tmp_path / "res" / "b.json"))
    assert (layout.only, layout.output_root) == ("a.txt", str(tmp_path / "res"))
    assert layout.without_ext("a.txt") == "b"


@pytest.mark.parametrize("output", ["res", "v1.5", "new.d/"])
def test_a_single_file_may_have_an_output_folder(tmp_path, output):
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "v1.5").mkdir()
    layout = lay_out(str(tmp_path / "a.txt"), f"{tmp_path}/{output}")
    assert layout.output_root == str(tmp_path / output.rstrip("/"))
    assert layout.without_ext("a.txt") == "a"


def test_a_missing_input_is_named(tmp_path):
    with pytest.raises(ScanError, match="nowhere"):
        lay_out(str(tmp_path / "nowhere"), str(tmp_path / "out"))


def test_outputs_may_not_lie_among_the_inputs(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "alias").symlink_to("in")
    for output in ("in", "alias"):
        with pytest.raises(ConfigError, match="among the inputs"):
            lay_out(str(tmp_path / "in"), str(tmp_path / output))


@pytest.mark.parametrize(
    "name",
    ["a.txt", "a", "a.b.txt", ".hidden", ".hidden.txt", "..a", "...a.b", "a.", "..", "a b.c"],
)
def test_a_stem_is_what_python_takes_for_it(name):
    layout = Layout(input_root="in", output_root="out")
    assert layout.stem(name) == os.path.splitext(name)[0]
