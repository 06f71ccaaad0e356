"""What a notebook shows: tables of text alone, and errors in one line."""

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hostile import HOSTILE

from openai_parallel_toolkit import BatchFolderSummary, Estimate, FilesFailed, RunSummary
from openai_parallel_toolkit.api.prompts import PromptsSummary
from openai_parallel_toolkit.core.errors import RunLocked
from openai_parallel_toolkit.runs.sample import Range
from openai_parallel_toolkit.simulator import SimKey, Simulator

REPOSITORY = Path(__file__).parents[2]
EVIL = f"<script>alert(1)</script>&{HOSTILE}"
NONE = Range(likely=0.0, low=0.0, high=0.0)
SHOWN = [
    RunSummary(done=3, failed=1, failures_path=EVIL, output_path=EVIL),
    PromptsSummary(answered=3, failed=1, errors_path=EVIL, output_path=EVIL),
    PromptsSummary(output_path=EVIL, was_done=True),
    BatchFolderSummary(done=1, output_path=EVIL, reasons=(EVIL,), dropped_keys={EVIL: EVIL}),
    Estimate(
        files=2, sampled=1, failed=0, calls=NONE, prompt_tokens=NONE, completion_tokens=NONE,
        cost_usd=None, seconds=1.0, bound_by="<script>alert(1)</script>", sample_usd=None,
        tokens_only=False,
    ),
]  # fmt: skip


class Seen(HTMLParser):
    """Which tags there are, and the text."""

    def __init__(self, shown):
        super().__init__()
        self.tags, self.text = set(), ""
        self.feed(shown)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("shown", SHOWN, ids=lambda one: type(one).__name__)
def test_summaries_are_tables_of_text_alone(shown):
    seen = Seen(shown._repr_html_())
    assert seen.tags <= {"table", "tr", "th", "td"}
    assert "<script>alert(1)</script>" in seen.text
    assert seen.text.isprintable()
    for line in str(shown).splitlines():
        words = re.sub(r"^[A-Z][A-Za-z ]*: ", "", line)
        assert words in seen.text


def test_an_error_is_one_line_for_a_notebook():
    error = FilesFailed(f"2 files failed {EVIL}")
    (line,) = error._render_traceback_()
    assert line.startswith("FilesFailed: 2 files failed <script>")
    assert line.isprintable()
    assert RunLocked()._render_traceback_()[0].startswith("RunLocked: Another process works")


CELLS = [
    """from openai_parallel_toolkit import *
class Mine(ParallelToolkit):
    def process_input(self, file): return file.read()
    def process_data(self, data): return request_openai_api(Gpt35Turbo(content=data))
    def process_output(self, data, output_file_without_ext):
        with open(output_file_without_ext + ".txt", "w") as out: print(data, file=out)
""",
    "Mine('config.json', 'in', 'out').run()",
    "Mine('config.json', 'nowhere', 'out').run()",
]


def test_a_notebook_runs_a_folder_and_shows_its_end_as_a_table(tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="the extra [test-notebooks] brings it")
    pytest.importorskip("ipykernel", reason="the extra [test-notebooks] brings it")
    from nbformat import v4

    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("hello")
    for name, value in (("PYTHONPATH", str(REPOSITORY)), ("HOME", str(tmp_path))):
        monkeypatch.setenv(name, value)
    book = v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in CELLS])
    with Simulator([SimKey("good")]) as sim:
        config = {"api_keys": ["sim-good"], "api_base": sim.url}
        (tmp_path / "config.json").write_text(json.dumps(config))
        os.chmod(tmp_path / "config.json", 0o600)
        client = nbclient.NotebookClient(
            book, timeout=100, allow_errors=True, resources={"metadata": {"path": str(tmp_path)}}
        )
        client.execute()
    first, ran, failed = (cell.outputs for cell in book.cells)
    assert first == []
    told = "".join(out.get("text", "") for out in ran)
    assert "Warning" not in told
    assert "<th" in ran[-1]["data"]["text/html"]
    assert "1 done" in ran[-1]["data"]["text/html"]
    (error,) = [out for out in failed if out["output_type"] == "error"]
    assert error["ename"] == "ScanError"
    assert len(error["traceback"]) == 1
    assert error["traceback"][0].startswith("ScanError: There is no input at")
