"""The same tables in pandas, in Parquet and in Hugging Face's datasets."""

import subprocess
import sys
from pathlib import Path

import pytest
from test_export import TEXTS, fill

from openai_parallel_toolkit import ToolkitError, calls_df, files_df, to_dataset

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def filled(kept):
    fill(kept)
    for at, text in enumerate(filter(None, TEXTS)):
        kept.answered(kept.asked("t.txt", str(at)), text)
    kept.journal.flush()
    return kept


def test_frames_have_the_rows_and_types_of_the_export(filled):
    pytest.importorskip("pandas")
    calls = calls_df(filled.out)
    assert list(calls["call"]) == [1, 2, *range(1, 8), 1, 2]
    assert calls["cost_usd"].sum() == pytest.approx(9 * 0.000057)
    assert str(calls["started_at"].dt.tz) == "UTC"
    assert list(files_df(str(filled.out))["state"]) == ["done", "open", "failed"]


def test_parquet_comes_back_as_it_was(filled):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    _, path = filled.export("calls.parquet")
    found = pandas.read_parquet(path)
    pandas.testing.assert_frame_equal(found, calls_df(filled.out))
    assert list(found["answer"])[2:9] == list(filter(None, TEXTS))


def test_half_a_character_is_written_out_in_parquet(kept):
    pytest.importorskip("pyarrow")
    kept.answered(kept.asked("\udcff.txt", "x"), "answer")
    kept.journal.flush()
    assert list(calls_df(kept.out)["file"]) == [r"\udcff.txt"]


def test_a_dataset_has_the_rows_of_the_export(filled):
    pytest.importorskip("datasets")
    made = to_dataset(filled.out, "failures")
    assert made[0]["file"] == "a/c.txt"
    assert to_dataset(filled.out).num_rows == 11


WITHOUT = """
import sys
from openai_parallel_toolkit import ToolkitError, calls_df, files_df, to_dataset
print(*{"pandas", "pyarrow", "datasets"} & set(sys.modules))
sys.modules.update(pandas=None, pyarrow=None, datasets=None)
for call in (calls_df, to_dataset, files_df):
    try:
        call(sys.argv[1])
    except ToolkitError as exc:
        print(exc)
    sys.modules.update(pandas=sys)
"""


def test_packages_are_imported_when_they_are_needed_and_missing_ones_are_told(filled):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, filled.out],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    install = "pip install 'openai_parallel_toolkit[data]'"
    assert done.stdout.splitlines() == [
        "",
        f"calls_df needs the package pandas: {install}",
        "to_dataset needs the package datasets: pip install datasets",
        f"files_df needs the package pyarrow: {install}",
    ]


def test_another_table_than_there_is_is_told(filled):
    pytest.importorskip("datasets")
    with pytest.raises(ToolkitError, match="calls, files, failures"):
        to_dataset(filled.out, "nonsense")
