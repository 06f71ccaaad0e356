"""What the package imports is what setup.py declares."""

import ast
import importlib.metadata
import re
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "openai_parallel_toolkit"
#: Distributions whose module has another name.
MODULES = {"python-dotenv": "dotenv", "genai-prices": "genai_prices"}
#: Imported for types alone: a dependency of the openai package from version 3 on.
FOR_TYPES = {"httpx2"}


def declared():
    """Names of the distributions that an installation brings, without extras."""
    required = importlib.metadata.requires("openai-parallel-toolkit") or []
    return {re.split(r"[<>=;!\[ ]", line)[0] for line in required if "extra ==" not in line}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module]
        yield from (name.partition(".")[0] for name in names)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_every_import_is_declared(path):
    known = {MODULES.get(name, name) for name in declared()} | FOR_TYPES | {PACKAGE.name}
    assert {name for name in imported(path) if name not in sys.stdlib_module_names} <= known


def test_every_dependency_is_used():
    text = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    assert not [n for n in declared() if not re.search(rf"\b{MODULES.get(n, n)}\b", text)]


def test_nothing_is_computed_once_by_cached_property():
    """Since Python 3.12 it has no lock: two threads each get a thing of their own, say a budget."""
    for path in PACKAGE.rglob("*.py"):
        assert "cached_property" not in path.read_text(encoding="utf-8"), path
