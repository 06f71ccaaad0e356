"""What was asked and answered, taken away as a table, whatever a run does meanwhile."""

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hostile import HOSTILE

from openai_parallel_toolkit.cli.dispatch import dispatch
from openai_parallel_toolkit.core.records import OutcomeKind
from openai_parallel_toolkit.view.export_rows import TABLES

REPOSITORY = Path(__file__).parents[2]
#: What steers a terminal, but for the line feeds that cells and lines have.
ALIVE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def fill(kept):
    """Two files: one with a call that was limited once and a repeat, one that failed."""
    limited = kept.asked("b.txt", "one", key="second")
    kept.ended(limited, OutcomeKind.BUSY, status=429, code="rate_limit_exceeded", message="slowly")
    kept.answered(kept.asked("b.txt", "one"), "the first")
    kept.answered(kept.asked("b.txt", "one", k=1), "the second")
    kept.done("b.txt", "b.json")
    lost = kept.asked("a/c.txt", "two")
    kept.ended(lost, OutcomeKind.UNKNOWN, code="cut", message="the body was cut")
    kept.asked("a/c.txt", "three")
    kept.failed("a/c.txt", "OutcomeUnknown", "the body was cut")


@pytest.mark.parametrize("name", ["calls.csv", "calls.jsonl"])
def test_each_call_is_a_row_as_its_last_attempt_came_out(kept, name):
    fill(kept)
    rows = kept.rows(name)
    told = [(row["file"], str(row["call"]), row["state"], str(row["attempts"])) for row in rows]
    assert told == [
        ("b.txt", "1", "ok", "2"),
        ("b.txt", "2", "ok", "1"),
        ("a/c.txt", "1", "unknown", "1"),
        ("a/c.txt", "2", "unanswered", "1"),
    ]
    first, _, lost, on = rows
    assert (first["answer"], first["key"], first["finish_reason"]) == ("the first", "first", "stop")
    assert (str(first["prompt_tokens"]), float(first["cost_usd"])) == ("10", 0.000057)
    assert [row["prompt"] for row in rows] == ["one", "one", "two", "three"]
    assert (float(first["seconds"]), float(first["waited_seconds"])) == (1.5, 0.25)
    assert (lost["error_code"], lost["error"]) == ("cut", "the body was cut")
    assert not lost["answer"]
    assert not lost["cost_usd"]
    assert float(on["max_cost_usd"]) == 0.01
    assert not on["ended_at"]
    assert first["started_at"].endswith("+00:00")


def test_files_are_told_with_what_they_cost_and_may_cost(kept):
    fill(kept)
    done, failed = kept.rows("files.jsonl")
    assert (done["file"], done["state"], done["outputs"]) == ("b.txt", "done", ["b.json"])
    assert (done["attempts"], done["answered"], done["cost_usd"]) == (3, 2, 0.000114)
    assert (failed["state"], failed["maybe_billed"]) == ("failed", 2)
    assert (failed["cost_usd"], failed["max_cost_usd"]) == (None, 0.02)
    assert failed["error_kind"] == "OutcomeUnknown"


def test_failures_are_told_with_their_reasons(kept):
    fill(kept)
    (row,) = kept.rows("failures.csv")
    assert (row["file"], row["error"]) == ("a/c.txt", "the body was cut")
    assert row["trace"] == "line 1\nline 2"


def test_the_table_is_named_by_the_file_or_else_by_an_option(kept, capsys):
    fill(kept)
    assert len(kept.rows("mine.csv")) == 4
    assert capsys.readouterr().out == f"{kept.out.parent}/mine.csv: 4 calls\n"
    assert len(kept.rows("mine.csv", "--what", "failures")) == 1
    assert len(kept.rows("mine.csv", "--what", "files", "--format", "csv")) == 2


def test_a_dash_prints_what_may_be_piped(kept, capfdbinary):
    fill(kept)
    kept.journal.flush()
    assert dispatch(["export", str(kept.out), "-"]) == 0
    piped = capfdbinary.readouterr().out
    assert piped.count(b"\n") == 4
    kept.export("calls.jsonl")
    assert piped == (kept.out.parent / "calls.jsonl").read_bytes()


HOSTILE_NAME = f"{HOSTILE}<script>alert(1)</script>".replace("/", "")


@pytest.mark.parametrize("name", ["calls.csv", "calls.jsonl", "files.csv", "failures.tsv"])
def test_nothing_that_steers_a_terminal_is_in_a_file_of_text(kept, name):
    for number in range(2):
        file = f"{number}{HOSTILE_NAME}"
        kept.answered(kept.asked(file, "x"), f'{HOSTILE}", "=1+1')
        kept.ended(kept.asked(file, "y"), OutcomeKind.REJECTED, code="400", message=HOSTILE)
        kept.failed(file, "ValueError", HOSTILE)
    rows = kept.rows(name) if name != "failures.tsv" else []
    _, path = kept.export(name)
    text = path.read_text(encoding="utf-8")
    assert ALIVE.sub("", text.replace("\t", "")) == text.replace("\t", "")
    assert len(rows) in (0, 2, 4)
    if name == "calls.jsonl":
        assert rows[0]["answer"] == f'{HOSTILE}", "=1+1'
        assert rows[0]["file"] == f"0{HOSTILE_NAME}"


TEXTS = [
    'a "quoted" word, and more',
    "two\nlines",
    " spaces ",
    "",
    "=HYPERLINK(1)",
    "\u3000ideographic\u00a0space",
    "tab\there",
    "semi;colon",
]


@pytest.mark.parametrize("name", ["calls.csv", "calls.jsonl"])
def test_texts_come_back_as_they_were(kept, name):
    for at, text in enumerate(TEXTS):
        kept.answered(kept.asked("f.txt", str(at)), text or "-")
    assert [row["answer"] for row in kept.rows(name)] == [text or "-" for text in TEXTS]


def test_half_a_character_is_written_as_its_escape(kept):
    kept.answered(kept.asked("\udcff.txt", "x"), "answer")
    assert kept.rows("calls.jsonl")[0]["file"] == "\udcff.txt"
    assert kept.rows("calls.csv")[0]["file"] == r"\udcff.txt"


def test_an_answer_that_was_pruned_leaves_its_row(kept):
    fill(kept)
    kept.journal._write("DELETE FROM answers")
    rows = kept.rows("calls.csv")
    assert (rows[0]["state"], rows[0]["answer"]) == ("ok", "")


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [
        ("calls.xlsx", [], "end it with .jsonl, .csv, .tsv, .parquet"),
        ("nowhere/calls.csv", [], "name a file in a folder"),
        ("out/b.json", ["--format", "csv"], "is an output of the run"),
        ("out/.openai_parallel_toolkit/calls.csv", [], "lies in the state folder"),
        ("out", ["--format", "csv"], "is a folder"),
        ("s3://bucket/calls.csv", [], "is a URL"),
    ],
)
def test_a_place_that_will_not_do_is_told_in_a_line(kept, capsys, monkeypatch, name, more, words):
    fill(kept)
    kept.journal.flush()
    monkeypatch.chdir(kept.out.parent)
    before = sorted(kept.out.rglob("*"))
    assert dispatch(["export", str(kept.out), name, *more]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1
    assert sorted(kept.out.rglob("*")) == before


def test_where_no_run_has_begun_nothing_is_made(tmp_path, capsys):
    assert dispatch(["export", str(tmp_path / "none"), str(tmp_path / "calls.csv")]) == 2
    assert "no run has begun" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_is_cut_short_leaves_the_one_before(kept):
    fill(kept)
    _, path = kept.export("calls.csv")
    before = path.read_bytes()
    kept.answered(kept.asked("z.txt", "x"), "a" * 5_000_000)
    kept.journal.flush()
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "from openai_parallel_toolkit.cli.dispatch import dispatch\n"
        "sys.exit(dispatch(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "export", str(kept.out), str(path)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5, done.stderr
    assert "File too large" in done.stderr
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir() if "part" in p.name] == []


def test_a_run_that_is_on_is_neither_locked_nor_changed(kept):
    fill(kept)
    kept.journal.flush()
    state = kept.out / ".openai_parallel_toolkit" / "journal.sqlite3"
    before = state.read_bytes(), kept.journal.totals()
    kept.export("calls.csv")
    assert (state.read_bytes(), kept.journal.totals()) == before
    kept.answered(kept.asked("late.txt", "x"), "late")
    assert len(kept.rows("calls.csv")) == 5


def test_memory_does_not_grow_with_the_answers(kept, request):
    count = 20_000 if request.config.getoption("--full") else 1_000
    for number in range(count):
        kept.answered(kept.asked(f"f{number % 9}.txt", str(number)), "word " * 8_000)
    kept.export("warm.csv", "--what", "files")
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _, path = kept.export("calls.csv")
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    assert path.stat().st_size > 40_000 * count
    assert grown_kib < 25_000


def test_the_documentation_names_every_column():
    page = (REPOSITORY / "docs" / "how-to" / "export.md").read_text(encoding="utf-8")
    for name, table in TABLES.items():
        section = page.partition(f"## {name}\n")[2].partition("\n## ")[0]
        told = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
        assert told == [column.name for column in table.columns], name
