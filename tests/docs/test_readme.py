"""What the documentation says is so: its code runs, and its tables, options and links are right."""

import inspect
import json
import os
import re
import runpy
import shlex
from pathlib import Path

import pytest
from forked_process import run_forked

import openai_parallel_toolkit
from openai_parallel_toolkit import APIRequester, ParallelToolkit, __version__
from openai_parallel_toolkit.cli.dispatch import _COMMANDS, _PARTS, _parser
from openai_parallel_toolkit.cli.exits import EXIT_CODES
from openai_parallel_toolkit.core import errors
from openai_parallel_toolkit.keys.config import load_settings
from openai_parallel_toolkit.simulator import SimKey, Simulator

REPOSITORY = Path(__file__).parents[2]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    *sorted(str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob("docs/**/*.md")),
]
#: What makes the parts of the reference that the code itself tells.
GENERATED = runpy.run_path(str(REPOSITORY / "docs" / "generated.py"))
TEXTS = {name: GENERATED["fill"]((REPOSITORY / name).read_text(encoding="utf-8")) for name in PAGES}
README = TEXTS["README.md"]
PROGRAM = "openai-parallel-toolkit"
#: Options of other programs that the pages name.
FOREIGN_OPTIONS = {"--against", "--full", "--name", "--only", "--quick", "--user"}


def blocks(language):
    """Yield page, line and text of every fenced block in a language."""
    for page, text in TEXTS.items():
        for found in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            yield page, text[: found.start()].count("\n") + 2, found[1]


def without_fences(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def commands():
    """Yield every whole command line of the toolkit that a page shows."""
    for page, text in TEXTS.items():
        plain = without_fences(text)
        shown = [
            *re.findall(r"`([^`\n]+)`", plain),
            *re.findall(r"^    (\S.*)$", plain, re.MULTILINE),
        ]
        for line in shown:
            for part in re.split(r" (?:&&|\||>) ", line):
                words = part.removeprefix(".venv/bin/")
                if words.startswith(f"{PROGRAM} "):
                    yield page, words


def options_of(name):
    """Return all spellings of a command's options."""
    return set(GENERATED["command_parser"](name)._option_string_actions)


def table(text, *head):
    """Return the rows of the table with these column titles, without their backquotes."""
    lines = iter(text.splitlines())
    title = f"| {' | '.join(head)} |"
    assert any(line == title for line in lines), f"there is no table {title}"
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


class Folder:
    """A folder as the README has its reader make it, and a server to ask."""

    def __init__(self, root, server):
        self.root, self.server = root, server
        _, _, first = next(blocks("python"))
        (root / "briefs.py").write_text(first, encoding="utf-8")
        (root / "texts").mkdir()
        for n in range(3):
            (root / "texts" / f"t{n}.md").write_text(f"Text {n}.\n\nIts second part.\n")
        (root / "inputs").mkdir()
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
        line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": body}
        (root / "inputs" / "a.jsonl").write_text(json.dumps(line) + "\n")

    def run(self, script):
        env = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
        env.update(PYTHONPATH=str(REPOSITORY), OPENAI_API_KEY="sim-good")
        env["OPENAI_BASE_URL"] = self.server.url
        done = run_forked(["-W", "error", script], cwd=self.root, env=env)
        assert done.returncode == 0, done.stderr
        told = [line for line in done.stderr.splitlines() if " is dropped: " not in line]
        assert not told, told
        failures = [path.read_text() for path in self.root.rglob("failures.jsonl")]
        assert not failures, failures
        return done.stdout


@pytest.fixture
def folder(tmp_path):
    with Simulator([SimKey("good")], seed=7) as server:
        yield Folder(tmp_path, server)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(text, id=f"{page}:{line}")
        for page, line, text in blocks("python")
        if page != "docs/how-to/clients.md"  # needs other packages: tests/door
    ],
)
def test_every_code_block_runs_as_it_stands(folder, code):
    (folder.root / "block.py").write_text(code, encoding="utf-8")
    folder.run("block.py")


def test_the_first_example_writes_an_output_for_each_file_and_a_rerun_pays_nothing(folder):
    assert "3 done, 0 skipped" in folder.run("briefs.py")
    outputs = {path.name for path in (folder.root / "out").glob("*.json")}
    assert outputs == {"t0.json", "t1.json", "t2.json"}
    assert "0 done, 3 skipped" in folder.run("briefs.py")
    assert folder.server.ledger.billed() == 3


def test_the_two_commands_stand_near_the_top_and_the_stop_finds_the_second():
    start = "    python3 -m venv .venv && .venv/bin/pip install "
    first, second = [line for line in README.splitlines()[:20] if line.startswith("    ")]
    assert first == f"{start}. && .venv/bin/{PROGRAM} demo"
    assert second == f"{start}'.[test]' && .venv/bin/python -m pytest -n 4"
    assert next(re.finditer(r"^    (.*pytest.*)$", README, re.MULTILINE))[0] == second


@pytest.mark.parametrize(("page", "command"), sorted(set(commands())))
def test_every_command_line_is_one_that_the_program_understands(page, command):
    words = [word for word in shlex.split(command)[1:] if word != "--help"]
    _parser(words).parse_args(words)


def test_every_option_that_is_named_exists():
    known = FOREIGN_OPTIONS.union(*map(options_of, _COMMANDS))
    for page, text in TEXTS.items():
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z_-]*", text))
        assert named <= known, f"{page} names {named - known}"


def test_every_command_is_shown_at_work():
    assert {words.split()[1] for _, words in commands()} >= set(_COMMANDS)


@pytest.mark.parametrize("name", [*_COMMANDS, *_PARTS])
def test_the_reference_tells_every_command_with_all_its_options(name):
    sections = re.split(r"^## ", TEXTS["docs/reference/commands.md"], flags=re.MULTILINE)
    (section,) = [one for one in sections if one.startswith(f"{name}\n")]
    rows = "\n".join(line for line in section.splitlines() if line.startswith("|"))
    assert options_of(name) - {"-h", "--help"} <= set(re.findall(r"--?[a-z][a-z_-]*", rows))


def test_the_settings_table_is_the_signature():
    page = TEXTS["docs/reference/settings.md"]
    rows = table(page, "setting", "default", "option", "meaning")
    told = {name.strip("`"): default.strip("`") for name, default, _, _ in rows}
    parameters = inspect.signature(ParallelToolkit).parameters.values()
    assert told == {
        p.name: "required" if p.default is p.empty else repr(p.default) for p in parameters
    }
    assert all(meaning for _, _, _, meaning in rows)


def test_the_reference_has_every_public_name_once():
    told = re.findall(r"^\.\. auto\w+:: (\w+)$", TEXTS["docs/reference/names.md"], re.MULTILINE)
    assert sorted(told) == sorted(openai_parallel_toolkit.__all__)


def test_the_arguments_table_is_the_signature():
    rows = table(TEXTS["docs/how-to/lists.md"], "argument", "default", "meaning")
    told = {name.strip("`"): default.strip("`") for name, default, _ in rows}
    parameters = inspect.signature(APIRequester).parameters.values()
    assert told == {
        p.name: "required" if p.default is p.empty else repr(p.default)
        for p in parameters
        if p.kind is not p.VAR_KEYWORD
    }


def test_the_exit_statuses_are_those_of_the_code():
    rows = table(TEXTS["docs/reference/exit-statuses.md"], "exit status", "meaning", "error")
    assert {status: meaning for status, meaning, _ in rows} == EXIT_CODES
    for status, _, kinds in rows[:-1]:
        for kind in re.findall(r"`(\w+)`", kinds):
            assert getattr(errors, kind).exit_code == int(status), kind


def test_the_config_that_is_shown_loads_and_shows_every_field(monkeypatch):
    ((_, _, shown),) = blocks("json")
    example = json.loads((REPOSITORY / "config.example.json").read_text(encoding="utf-8"))
    fields = {row[0] for row in table(TEXTS["docs/reference/config.md"], "field", "meaning")}
    for config in (example, json.loads(shown)):
        in_keys = {name for key in config["api_keys"] if isinstance(key, dict) for name in key}
        named = re.findall(r"\w+", " ".join(fields))
        assert {*config, *in_keys} - {"api_keys"} == set(named)


def test_the_config_that_is_shown_can_be_used(tmp_path):
    ((_, _, shown),) = blocks("json")
    path = tmp_path / "config.json"
    path.write_text(shown, encoding="utf-8")
    env = {name: f"false-{name}" for name in re.findall(r"env:(\w+)", shown)}
    settings = load_settings(path, env=env)
    assert [key.name for key in settings.api_keys] == ["key-1", "lab", "azure", "local"]


def test_what_lies_in_the_state_folder_is_told(folder):
    folder.run("briefs.py")
    page = TEXTS["docs/reference/on-disk.md"]
    for path in (folder.root / "out" / ".openai_parallel_toolkit").iterdir():
        assert f"`{path.name.removesuffix('-wal').removesuffix('-shm')}`" in page, path.name


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)(#[^)\s]+)?\)", TEXTS[page]):
        path = (REPOSITORY / page).parent / target if target else REPOSITORY / page
        assert path.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", t.lower()).replace(" ", "-") for t in titles}
            assert anchor[1:] in anchors, anchor


def test_files_and_folders_that_contributors_are_sent_to_exist():
    homes = r"(?:tests|benchmarks|\.ci|openai_parallel_toolkit)"
    named = re.findall(rf"(?<![\w/]){homes}/[\w./]*\w", TEXTS["CONTRIBUTING.md"])
    assert len(named) > 10
    for path in named:
        assert (REPOSITORY / path).exists(), path


def test_the_changelog_tells_of_this_version():
    assert __version__ in TEXTS["CHANGELOG.md"]
