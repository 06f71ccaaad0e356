"""Exceptions that may be a user's are put into words by `describe` alone, which cannot raise."""

import ast
from pathlib import Path

import pytest

from openai_parallel_toolkit.core.describe import (
    attribute_of,
    cause_of,
    describe,
    is_a,
    trace_of,
    words_of,
)
from openai_parallel_toolkit.core.errors import NoUsableKey, error_behind

PACKAGE = Path(__file__).parents[2] / "openai_parallel_toolkit"
#: Names of classes that an exception of anybody's has.
BROAD = {"Exception", "BaseException"}
#: What puts a value into words, or asks it what it is.
CALLS = {"str", "repr", "format", "ascii", "isinstance", "print"}
#: Where the errors are those of a package, of this one or of Python's; or where all is shown last.
KNOWN = {
    "core/describe.py",
    "cli/dispatch.py",  # `traceback.format_exc` of what ends the command
    "files/stores/__init__.py",  # of fsspec's backends
    "files/stores/remote.py",
}


class Silent(Exception):
    def __str__(self):
        raise KeyboardInterrupt


def test_what_cannot_say_itself_is_told_by_kind():
    assert describe(ValueError("wrong")) == "ValueError: wrong"
    assert describe(ValueError()) == "ValueError"
    assert describe(Silent("x")) == "Silent: (its __str__ raised KeyboardInterrupt)"


def test_a_traceback_is_pythons_own_where_that_can_be_had():
    with pytest.raises(ValueError, match="wrong") as caught:
        raise ValueError("wrong")
    *_, where, what = trace_of(caught.value)
    assert what == "ValueError: wrong\n"
    assert "test_describe.py" in where


def test_what_python_keeps_of_an_exception_is_read_past_its_class():
    class Veiled(Exception):
        __class__ = __cause__ = property(lambda self: 1 / 0)

    error = Veiled()
    assert cause_of(error) is None
    assert is_a(error, Veiled)
    assert not is_a(error, OSError)
    assert attribute_of(error, "__cause__") is None


def test_an_error_of_ours_is_found_behind_others_and_a_circle_of_causes_ends():
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert error_behind(first) is None
    second.__cause__ = NoUsableKey()
    assert error_behind(first) is second.__cause__


def test_a_plain_text_comes_of_any_str():
    class Text(str):
        __slots__ = ()

    assert type(words_of(type("E", (Exception,), {"__str__": lambda self: Text("a")})())) is str


def broad_names(tree):
    """The functions and handlers in which a name stands for an exception of anybody's."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.name and _is_broad(node.type):
            yield node.name, node.body
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            arguments = [*node.args.args, *node.args.kwonlyargs]
            for one in arguments:
                if one.annotation is not None and _is_broad(one.annotation):
                    yield one.arg, node.body


def _is_broad(kind):
    return any(isinstance(n, ast.Name) and n.id in BROAD for n in ast.walk(kind))


def words_made(name, body):
    """The lines on which a value of this name is put into words."""
    for node in (found for statement in body for found in ast.walk(statement)):
        if isinstance(node, ast.FormattedValue) and _is(node.value, name):
            yield node.lineno
        elif isinstance(node, ast.Call):
            called = node.func.id if isinstance(node.func, ast.Name) else ""
            is_log = isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) in {
                "logger",
                "traceback",
            }
            if (called in CALLS - {"isinstance"} or is_log) and any(
                _is(given, name) for given in node.args
            ):
                yield node.lineno


def _is(node, name):
    return isinstance(node, ast.Name) and node.id == name


def test_nothing_else_puts_an_exception_of_anybodys_into_words():
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).as_posix()
        if room in KNOWN or room.startswith("simulator/"):
            continue
        for name, body in broad_names(ast.parse(path.read_text(encoding="utf-8"))):
            wrong += [f"{room}:{line}: {name}" for line in words_made(name, body)]
    assert not wrong


def test_every_module_logs_through_a_guarded_logger():
    wrong = [
        path.relative_to(PACKAGE).as_posix()
        for path in sorted(PACKAGE.rglob("*.py"))
        if "logging.getLogger(__name__)" in path.read_text(encoding="utf-8")
        and "simulator" not in path.parts
    ]
    assert not wrong


@pytest.mark.parametrize("source", ['f"{exc}"', "str(exc)", "logger.info('%s', exc)"])
def test_the_rule_sees_each_way(source):
    tree = ast.parse(f"try:\n    pass\nexcept Exception as exc:\n    {source}\n")
    assert [line for name, body in broad_names(tree) for line in words_made(name, body)] == [4]
