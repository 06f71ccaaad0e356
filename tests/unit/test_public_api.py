"""What users import: the names, their words, and what importing them costs."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import openai_parallel_toolkit

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "openai_parallel_toolkit"
NAMES = openai_parallel_toolkit.__all__
HEAVY = ("openai", "tiktoken", "aiohttp", "httpx2", "asyncio", "sqlite3", "tqdm", "pydantic")


def test_the_public_names_are_sorted_and_there():
    assert list(NAMES) == sorted(NAMES)
    assert len(set(NAMES)) == len(NAMES)
    assert set(dir(openai_parallel_toolkit)) == {*NAMES, "__version__"}
    for name in NAMES:
        assert getattr(openai_parallel_toolkit, name) is not None


def test_type_checkers_see_the_names_that_are_there():
    """What stands under TYPE_CHECKING is what is loaded when a name is first used."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    seen = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    assert set(seen) == set(NAMES)
    for name, home in seen.items():
        module = importlib.import_module(f"{openai_parallel_toolkit.__name__}.{home}")
        assert getattr(openai_parallel_toolkit, name) is getattr(module, name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        openai_parallel_toolkit.nonsense  # noqa: B018


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_says_what_it_is(name):
    thing = getattr(openai_parallel_toolkit, name)
    assert inspect.getdoc(thing), name
    if not inspect.isclass(thing):
        return
    for member, value in vars(thing).items():
        is_own = inspect.isfunction(value) or isinstance(value, (property, staticmethod))
        if is_own and not member.startswith("_") and not is_described(thing, member):
            pytest.fail(f"{name}.{member} has no docstring")


def is_described(kind, member):
    """Whether it has a docstring, or is a plain figure or an override of something described."""
    return inspect.getdoc(getattr(kind, member)) or kind.__name__ == "Usage"


def run_python(code):
    command = [
        sys.executable,
        "-I",
        "-c",
        f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\n{code}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    return done.stdout.strip()


def test_importing_the_package_loads_nothing_heavy():
    loaded = run_python("import openai_parallel_toolkit\nprint(*sys.modules)").split()
    assert not [name for name in HEAVY if name in loaded]
    assert [n for n in loaded if n.startswith("openai_parallel_toolkit")] == [
        "openai_parallel_toolkit"
    ]


@pytest.mark.parametrize(
    "code",
    [
        "from openai_parallel_toolkit import Gpt35Turbo, RequestFailed; Gpt35Turbo('hello')",
        "from openai_parallel_toolkit.cli import status, show, upkeep",
    ],
)
def test_what_sends_nothing_loads_no_client(code):
    """Models and errors alone, and the commands that read a journal."""
    loaded = run_python(f"{code}\nprint(*sys.modules)").split()
    assert not [name for name in ("openai", "tiktoken", "aiohttp", "httpx2") if name in loaded]


def test_importing_the_package_takes_no_time():
    code = """\
import time
since_s = time.process_time()
import openai_parallel_toolkit
print(time.process_time() - since_s)"""
    assert min(float(run_python(code)) for _ in range(3)) < 0.05


def tracked_files():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        timeout=100,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("this is no git checkout")
    paths = [REPOSITORY / name.decode() for name in listed.stdout.split(b"\0") if name]
    return [path for path in paths if path.is_file()]


def test_no_file_holds_what_looks_like_a_key():
    looks_like_a_key = re.compile(rb"sk-(?:proj-)?[A-Za-z0-9]{20,}")
    found = {
        str(path.relative_to(REPOSITORY)): match.group()
        for path in tracked_files()
        if (match := looks_like_a_key.search(path.read_bytes()))
    }
    assert not found


def test_secrets_are_revealed_where_requests_are_sent_and_nowhere_else():
    rooms = {
        path.relative_to(PACKAGE).parts[0]
        for path in PACKAGE.rglob("*.py")
        if ".reveal(" in path.read_text(encoding="utf-8")
    }
    assert rooms == {"transport"}


def test_the_package_is_marked_as_typed():
    assert (PACKAGE / "py.typed").exists()
