"""Killed at any step and run again: every line is paid once, every input ends in one place."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from folder_fixture import QUICK, FolderFixture, jobs_in
from forked_process import ForkedProcess

from openai_parallel_toolkit.simulator import Fault, SimKey, Simulator

CHILD = Path(__file__).with_name("folder_crash_child.py")
HOME = CHILD.parents[2]


def start(*arguments):
    """Start the child without waiting for it."""
    environment = {**os.environ, "PYTHONPATH": str(HOME)}
    return ForkedProcess(
        [CHILD, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.crash
@pytest.mark.timeout(900)
def test_killed_at_any_step_a_rerun_finishes_and_pays_nothing_twice(tmp_path, pytestconfig):
    step = 1 if pytestconfig.getoption("--full") else 29
    faults = [
        Fault("400", path="#line", marker="poison"),
        Fault("429", path="#line", marker="stumble", times=1, per_payload=True),
    ]
    with Simulator([SimKey("one"), SimKey("two")], batch_seconds=0.05, faults=faults) as sim:
        fixture = FolderFixture(tmp_path, sim)
        child = start(tmp_path / "runs", fixture.config, step)
        told, complaints = child.communicate(timeout=600)
        assert child.returncode == 0, complaints
        assert int(told) >= 150 // step
        for root in sorted((tmp_path / "runs").iterdir()):
            check_one(root)
        billed = Counter(row.custom_id for row in sim.ledger.rows() if row.batch and row.billed)
        assert set(billed.values()) == {1}, [id for id, times in billed.items() if times > 1]
        assert len(billed) == 3 * len(list((tmp_path / "runs").iterdir()))
        assert sim.files.stored() == []


def check_one(root):
    """Every input of a run is where it belongs, whole, and nothing else is left."""
    places = {
        "out": ["deep/part_output", "good_output"],
        "err": ["bad_error", "deep/part_error"],
    }
    for place, wanted in places.items():
        found = {}
        for path in (root / place).rglob("*put.jsonl" if place == "out" else "*_error.jsonl"):
            short = path.relative_to(root / place)
            found[str(short.parent.parent / short.stem)] = path
        assert sorted(found) == wanted, (root, place)
        for name, path in found.items():
            stem = path.stem.rpartition("_")[0]
            assert (path.parent / f"{stem}.jsonl").exists(), (root, name)
            assert json.loads((path.parent / f"{stem}_metadata.json").read_text())
    assert not list((root / "in").rglob("*.jsonl")), root
    state = root / "out" / ".openai_parallel_toolkit"
    assert not [*jobs_in(state), *(state / "batch_folder").iterdir()], root


@pytest.mark.crash
def test_killed_while_a_post_is_on_its_way_a_rerun_takes_over_what_it_made(tmp_path):
    """Two inputs make four POSTs; the process dies in the middle of each of them in turn."""
    kill_at, child = 0, None

    def on_post(row):
        if row.ordinal == kill_at:
            child.kill()

    with Simulator([SimKey("test")], batch_seconds=0.05, on_post=on_post) as sim:
        fixture = FolderFixture(tmp_path, sim)
        fixture.put("a.jsonl")
        fixture.put("b.jsonl")
        for _ in range(10):
            kill_at = len([row for row in sim.ledger.rows() if row.ordinal]) + 1
            child = start("one", fixture.input, fixture.output, fixture.error, fixture.config)
            child.communicate(timeout=60)
            if child.returncode == 0:
                break
        assert child.returncode == 0
        assert len(sim.batches.batches()) == 2
        assert sim.ledger.summary().lines.billed == 6
        assert sim.files.stored() == []
        assert fixture.waiting() == []
        assert len(fixture.results("a.jsonl")) == len(fixture.results("b.jsonl")) == 3


@pytest.mark.crash
def test_a_batch_that_is_listed_late_is_not_made_again(tmp_path):
    """The process dies with its batch made, and the next one does not find it at first."""
    children = []

    def on_post(row):
        if children and row.path.endswith("/batches"):
            children.pop().kill()

    with Simulator([SimKey("test")], batch_seconds=0.05, on_post=on_post) as sim:
        sim.batch_controls.set_pace(listed_after_s=3)
        fixture = FolderFixture(tmp_path, sim)
        fixture.put("a.jsonl")
        child = start("one", fixture.input, fixture.output, fixture.error, fixture.config)
        children.append(child)
        child.communicate(timeout=60)
        assert fixture.run(pace=dataclasses.replace(QUICK, listed_within_s=60)).done == 1
        assert len(sim.batches.batches()) == 1
        assert sim.ledger.summary().lines.billed == 3
        assert sim.files.stored() == []
