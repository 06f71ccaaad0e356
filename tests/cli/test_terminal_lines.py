"""On a terminal the bar has lines beneath, and 80 columns cut off nothing that matters."""

import importlib.util
import re
import sys

import pytest
from cli_workspace import REPOSITORY

from openai_parallel_toolkit.simulator import SimKey, Simulator

pytest.importorskip("pyte")
COMMAND = "-m openai_parallel_toolkit run hooks.py in out --max-cost 5 --threads 4"


def _recorder():
    spec = importlib.util.spec_from_file_location("pictures", REPOSITORY / "docs/make_pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.record


@pytest.fixture
def limited_sim():
    with Simulator([SimKey("good", rpm=240, burst=6), SimKey("empty", quota="none")]) as simulator:
        yield simulator


@pytest.mark.parametrize("columns", [80, 140])
def test_failures_keys_cost_and_why_nothing_moves_are_seen(workspace, limited_sim, columns):
    workspace.inputs(12).configure(limited_sim, "good", "empty")
    for n in range(3):
        (workspace.root / "in" / f"a{n}.txt").write_bytes(b"\xff")
    seen = []
    end = _recorder()(
        [sys.executable, *COMMAND.split()],
        columns=columns,
        rows=40,
        cwd=workspace.root,
        look=lambda lines: seen.append("\n".join(line.rstrip() for line in lines)),
    )
    on = [screen for screen in seen if "projected" in screen and "waiting: " in screen]
    assert on, seen[-5:]
    full = next(screen for screen in on if ", 3 failed:" in screen)
    (bar,) = re.findall(
        r"^ParallelToolkit.*, 3 failed: +\d+%\|.*\d+/15 \[.*<.*\]$", full, re.MULTILINE
    )
    assert len(bar) <= columns
    for pattern in (
        r"^keys: (?:\d \w+, )+1 dropped; [\d.]+ calls/s, [\d,]+ tokens/s$",
        r"^cost: \$[\d.]+, projected \$[\d.]+, cap \$5 \(\$[\d.]+ spent at most\)$",
    ):
        assert re.search(pattern, full, re.MULTILINE), full
    assert full.count("a hook speaks") == len(re.findall("^a hook speaks$", full, re.MULTILINE))
    waits = r"^waiting: [\d.]+ s to go, 1 of 2 keys (?!are dropped)"
    assert any(re.search(waits, screen, re.MULTILINE) for screen in on)
    text = "\n".join(line.rstrip() for line in end)
    assert "1 dropped; " not in text  # only the bar stays
    assert len(re.findall("^a hook speaks$", text, re.MULTILINE)) == 12
    assert text.count("|") == 2
    assert "12 done, 0 skipped, 3 failed" in text.replace("\n", "")
