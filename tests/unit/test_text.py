"""Counts are told in the singular and the plural, and a reason's head is enough the second time."""

import ast
import re
from pathlib import Path

from openai_parallel_toolkit.core.text import brief, counted

PACKAGE = Path(__file__).parents[2] / "openai_parallel_toolkit"
#: What users are told counts of.
COUNTED = "answer|attempt|batch|batche|call|file|key|line|object|prompt|request|run|time|token"


def test_one_is_singular_and_all_else_plural():
    assert [counted(n, "file") for n in (0, 1, 2, 1_000)] == [
        "0 files",
        "1 file",
        "2 files",
        "1,000 files",
    ]
    assert [counted(n, "batch", "batches") for n in (1, 2)] == ["1 batch", "2 batches"]


def test_a_reason_is_told_by_its_head():
    assert brief("429 insufficient_quota: You exceeded your quota: see https://x") == (
        "429 insufficient_quota"
    )
    assert brief("does not have the model") == "does not have the model"


def test_no_message_puts_a_plural_behind_a_bare_count():
    """`counted` does it, so that none says "1 answers"; a limit above 1 may stand as it is."""
    plural = re.compile(rf"\}} (?:{COUNTED})s\b(?!/)|\(s\)")
    allowed = {"api/ready_requests.py", "batch/planner.py", "batch/service/check.py", "cli/show.py"}
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith("simulator/") or name in allowed:
            continue
        wrong += [
            f"{name}:{node.lineno}: {ast.unparse(node)}"
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.JoinedStr) and plural.search(_shape(node))
        ]
    assert not wrong


def _shape(message: ast.JoinedStr) -> str:
    """An f-string's text with {} where a number may stand: a value with a format, or a len()."""
    return "".join(
        part.value if isinstance(part, ast.Constant) else "{}" if _may_count(part) else ""
        for part in message.values
    )


def _may_count(part: ast.FormattedValue) -> bool:
    return part.format_spec is not None or isinstance(part.value, ast.Call)
