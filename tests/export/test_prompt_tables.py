"""A table of questions gives the same table with answers."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from openai_parallel_toolkit.cli.dispatch import dispatch
from openai_parallel_toolkit.simulator import Fault, SimKey, Simulator

REPOSITORY = Path(__file__).parents[2]
BOM = "\ufeff"
QUESTIONS = 'id,text\n1,"the ""river"", wide"\n2,"two\nlines"\n3,grüße\n'
CELLS = [["1", 'the "river", wide'], ["2", "two\nlines"], ["3", "grüße"]]
ASK = ("--model=gpt-4o-mini", "--no-progress", "--prompt")


@pytest.fixture
def sim():
    with Simulator([SimKey("good")], seed=7) as simulator:
        yield simulator


@pytest.fixture
def ask(tmp_path, monkeypatch, sim):
    """Give the command in a folder with a config; return its status."""
    monkeypatch.chdir(tmp_path)
    config = {"api_keys": ["sim-good"], "api_base": sim.url}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "config.json").chmod(0o600)

    def give(source, out, prompt="Translate {text}", *more):
        told = [*ASK, prompt] if prompt else ASK[:-1]
        return dispatch(["prompts", source, out, *told, *more])

    give.root = tmp_path
    return give


def table(path, delimiter=","):
    text = path.read_bytes().decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


@pytest.mark.parametrize("mark", ["", BOM])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_columns_are_kept_and_answers_come_beside_them(ask, sim, mark, ending):
    (ask.root / "q.csv").write_bytes((mark + QUESTIONS).replace("\n", ending).encode())
    assert ask("q.csv", "a.csv") == 0
    head, *rows = table(ask.root / "a.csv")
    assert head == ["id", "text", "answer", "answer_state", "answer_error"]
    kept = [[cell.replace("\n", ending) for cell in row] for row in CELLS]
    assert [row[:2] for row in rows] == kept
    assert [row[3:] for row in rows] == [["answered", ""]] * 3
    assert rows[0][2] == 'Translate the "river", wide'
    assert rows[2][2] == "Translate grüße"
    assert (ask.root / "a.csv").read_bytes().startswith(mark.encode() or b"id")
    assert not (ask.root / "a.csv.partial").exists()
    assert ask("q.csv", "a.csv") == 0
    assert sim.ledger.billed() == 3


def test_only_rows_that_are_new_or_failed_are_asked_again(ask, sim):
    (ask.root / "q.csv").write_text("text\none\ntwo\n")
    sim.script.replace([Fault("400", marker="two", message="no, <script>\x1b[2J")])
    assert ask("q.csv", "a.tsv") == 1
    _, one, two = table(ask.root / "a.tsv", "\t")
    assert one == ["one", "Translate one", "answered", ""]
    assert two[:3] == ["two", "", "failed"]
    assert two[3].startswith("RequestRejected: ")
    assert "\x1b" not in two[3]
    assert json.loads((ask.root / "a.errors.jsonl").read_text())["line"] == 3
    sim.script.replace([])
    (ask.root / "q.csv").write_text("text\none\nnew\ntwo\n")
    assert ask("q.csv", "a.tsv") == 0
    assert [row[2] for row in table(ask.root / "a.tsv", "\t")[1:]] == ["answered"] * 3
    assert sim.ledger.billed() == 3


def test_another_prompt_does_not_buy_everything_anew_without_being_told_to(ask, sim, capsys):
    (ask.root / "q.csv").write_text("text\none\n")
    assert ask("q.csv", "a.csv") == 0
    assert ask("q.csv", "a.csv", "Shorten {text}") == 2
    assert "--force" in capsys.readouterr().err
    assert sim.ledger.billed() == 1
    assert ask("q.csv", "a.csv", "Shorten {text}", "--force") == 0


def test_the_column_prompt_is_asked_where_no_prompt_is_given(ask):
    (ask.root / "q.tsv").write_text("id\tprompt\n7\thello {there}\n")
    assert ask("q.tsv", "a.jsonl", None) == 0
    assert json.loads((ask.root / "a.jsonl").read_text()) == {
        "id": "7", "prompt": "hello {there}", "answer": "hello {there}",
        "answer_state": "answered", "answer_error": "",
    }  # fmt: skip


def test_braces_are_written_twice_and_cells_may_be_large(ask):
    (ask.root / "q.csv").write_text(f"text,my column\n{'x' * 200_000},b\n")
    assert ask("q.csv", "a.csv", "{{{my column}}}") == 0
    (_, row) = table(ask.root / "a.csv")
    assert row[2] == "{b}"
    assert len(row[0]) == 200_000


def test_lines_may_have_a_table_for_their_answers(ask):
    (ask.root / "q.txt").write_text("one\n\ntwo, three\n")
    assert ask("q.txt", "a.csv", None) == 0
    assert table(ask.root / "a.csv")[1:] == [
        ["1", "one", "one", "answered", ""],
        ["3", "two, three", "two, three", "answered", ""],
    ]


@pytest.mark.parametrize(
    ("name", "content", "prompt", "words"),
    [
        ("q.csv", "text\na\n", "{word}", "column 'word', which the prompt names; it has 'text'"),
        ("q.csv", "text\na\n", None, "'q.csv' has no column 'prompt'; say with --prompt"),
        ("q.csv", "text\na\n", "Say {text", "a lone { at character 5"),
        ("q.csv", "text\na\n", "Say }", "a lone } at character 5"),
        ("q.csv", "text,b\na,b\nc\n", "{text}", "line 3: 1 cells where the first line names 2"),
        ("q.csv", 'text,b\n"a\nb",b\nc,d,e\n', "{text}", "'q.csv', line 4: 3 cells"),
        ("q.csv", 'text\n"a\n', "{text}", "'q.csv', line 2: this is no table"),
        ("q.csv", "", "{text}", "'q.csv' is empty"),
        ("q.csv", "text,text\na,b\n", "{text}", "the column 'text' is there twice"),
        ("q.csv", "text,answer\na,b\n", "{text}", "--answer-column"),
        ("q.csv", b"text\n\xff\xfe\n", "{text}", "line 2: this is not UTF-8"),
        ("q.csv", "te\0xt\n\x01\n", "Say {no}", "'q.csv'"),
        ("q.jsonl", "one\n", "{text}", "'q.jsonl' is no table"),
        ("none.csv", None, "{text}", "'none.csv': No such file"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_a_line_and_nothing_is_sent(
    ask, sim, capsys, name, content, prompt, words
):
    if content is not None:
        data = content if isinstance(content, bytes) else content.encode()
        (ask.root / name).write_bytes(data)
    assert ask(name, "a.csv", prompt) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1
    assert sim.ledger.hits() == 0
    assert not (ask.root / "a.csv").exists()


def test_another_column_may_take_the_answers(ask):
    (ask.root / "q.csv").write_text("text,answer\na,b\n")
    assert ask("q.csv", "a.csv", "{text}", "--answer-column", "ours") == 0
    assert table(ask.root / "a.csv")[0][2:] == ["ours", "ours_state", "ours_error"]


def test_parquet_keeps_its_types(ask):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {"n": [1, 2, None], "text": ["a", None, "c"], "many": [[1], [], [2, 3]]}
    parquet.write_table(arrow.table(columns), ask.root / "q.parquet")
    assert ask("q.parquet", "a.parquet", "{n} {text}") == 0
    found = parquet.read_table(ask.root / "a.parquet")
    assert found.select(["n", "text", "many"]).to_pydict() == columns
    assert found.schema.field("n").type == arrow.int64()
    assert found["answer"].to_pylist() == ["1 a", "2", "c"]
    assert ask("q.parquet", "a.csv", "{n} {text}") == 0
    assert table(ask.root / "a.csv")[2][:3] == ["2", "", "[]"]


def test_a_file_that_is_no_parquet_is_told(ask, capsys):
    pytest.importorskip("pyarrow")
    (ask.root / "q.parquet").write_text("no table")
    assert ask("q.parquet", "a.csv") == 2
    assert "is no Parquet file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("format", "given", "prompt", "expected"),
    [
        ("jsonl", '{"prompt": "one", "id": 1}\n', (), '"content": "one"'),
        ("csv", "text\none\n", ("--prompt", "Say {text}"), "one,Say one,answered,\n"),
    ],
)
def test_a_dash_reads_and_prints_and_nothing_is_paid_twice(
    ask, sim, format, given, prompt, expected
):
    command = [sys.executable, "-m", "openai_parallel_toolkit", "prompts", "-", "-", *ASK[:-1]]
    env = {"PYTHONPATH": str(REPOSITORY), "XDG_STATE_HOME": str(ask.root / "state")}
    for _ in range(2):
        done = subprocess.run(
            [*command, "--format", format, *prompt],
            cwd=ask.root, env=env, input=given, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith(expected) or expected in done.stdout
        assert "answered" in done.stderr
        assert sim.ledger.billed() == 1
