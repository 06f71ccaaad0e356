"""The shape of the house: imports run downward only, and never in a circle."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "openai_parallel_toolkit"

#: Floors from the face down to the ground, and what each is for; a room may import only from
#: floors below its own, and from itself. CONTRIBUTING.md shows this table.
FLOORS = [
    (("__init__", "__main__"), "public names; the entry point"),
    (("cli",), "the command line: the commands, and how they read and speak"),
    (
        ("view",),
        "what people look at and take away: a page, a report, exports, figures for Prometheus",
    ),
    (("api",), "what users call: the folder toolkit, single calls, lists, prompts, batch folders"),
    (("runs",), "one run over many things: session, workers, hooks, progress, report"),
    (("batch",), "the Batch API: its client, and batches from planning to collecting"),
    (("calls",), "one call, from the hook to the kept answer; `attempts` and `classify` are pure"),
    (
        ("files", "keys", "journal", "transport"),
        "inputs and outputs; keys and their configuration; what was paid for; what sends",
    ),
    (("costs",), "prices, tokens, budget, figures"),
    (("core",), "frozen data, errors, time, the file system"),
]
APART = {"simulator": "a server for tests and rehearsals; imports nothing of the rest"}
MOST_FLOORS, MOST_ENTRIES = 10, 16


def rooms():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts != ("cli", "demo_toolkit"):  # a user's file, which the demo copies
            yield path, parts


def imported_rooms(path, parts):
    """Names of the first-level rooms that a file imports, lazily or not."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = list(parts[: len(parts) - node.level])
            target = base + (node.module.split(".") if node.module else [])
            if target:
                yield target[0]
            else:
                yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = node.module.split(".")
            if names[0] == "openai_parallel_toolkit":
                yield names[1] if len(names) > 1 else "__init__"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                assert not alias.name.startswith("openai_parallel_toolkit"), "import relatively"


def floor_of(room):
    for height, (floor, _) in enumerate(reversed(FLOORS)):
        if room in floor:
            return height
    pytest.fail(f"{room} stands on no floor: give it one in FLOORS")


def test_imports_run_downward_only():
    wrong = []
    for path, parts in rooms():
        if parts[0] in APART:
            continue
        for target in imported_rooms(path, parts):
            if target in (parts[0], *APART):
                continue
            if floor_of(target) >= floor_of(parts[0]):
                wrong.append(f"{'/'.join(parts)} -> {target}")
    assert not wrong


def test_the_house_has_few_floors_and_few_rooms():
    entries = {path.name for path in PACKAGE.iterdir()} - {"__pycache__"}
    assert len(FLOORS) <= MOST_FLOORS
    assert len(entries) <= MOST_ENTRIES
    known = {room for floor, _ in FLOORS for room in floor} | set(APART) | {"py.typed"}
    assert {name.removesuffix(".py") for name in entries} == known


def test_contributing_shows_the_floors_as_they_are():
    told = [(", ".join(f"`{room}`" for room in floor), what) for floor, what in FLOORS]
    apart = [(f"apart: `{room}`", what) for room, what in APART.items()]
    rows = [f"| {rooms} | {what} |" for rooms, what in told + apart]
    table = "\n".join(["| rooms | for |", "|---|---|", *rows])
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert table in text, f"put this table there:\n{table}"


def test_the_simulator_imports_nothing_of_the_rest():
    for path, parts in rooms():
        if parts[0] == "simulator":
            assert set(imported_rooms(path, parts)) <= {"simulator"}


def test_no_files_import_each_other_in_a_circle():
    graph = {parts: set(inner_imports(path, parts)) for path, parts in rooms()}
    done, path_now = set(), []

    def visit(room):
        assert room not in path_now, f"circle: {path_now[path_now.index(room) :]}"
        if room in done:
            return
        path_now.append(room)
        for target in graph.get(room, ()):
            visit(target)
        path_now.pop()
        done.add(room)

    for room in graph:
        visit(room)


def inner_imports(path, parts):
    """Files that a file imports, by their parts; a folder's names are looked up in its __init__."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.ImportFrom) and node.level):
            continue
        base = parts[: len(parts) - node.level]
        target = base + tuple(node.module.split(".") if node.module else ())
        if target and PACKAGE.joinpath(*target).with_suffix(".py").exists():
            yield target
            continue
        for alias in node.names:
            is_file = PACKAGE.joinpath(*target, f"{alias.name}.py").exists()
            yield (*target, alias.name if is_file else "__init__")
