"""An old copy of the state comes back: results that are in place count."""

import shutil
import threading

import pytest
from folder_fixture import FolderFixture

from openai_parallel_toolkit.simulator import SimKey, Simulator


@pytest.mark.parametrize("stage", ["taken", "running"])
def test_results_that_are_in_place_are_neither_paid_nor_made_again(tmp_path, stage):
    with Simulator([SimKey("good")], seed=7, batch_seconds=0.4) as sim:
        fixture = FolderFixture(tmp_path, sim)
        fixture.put("a.jsonl")
        state, copy = fixture.output / ".openai_parallel_toolkit", tmp_path / "copy"
        run = threading.Thread(target=fixture.run)
        run.start()
        while run.is_alive() and not copy.exists():
            stages = fixture.stages() if state.exists() else []
            if stages and (stage == "taken" or stage in stages):
                shutil.copytree(state, copy)
        run.join()
        before = {path: path.read_bytes() for path in fixture.output.glob("a_*/*")}
        shutil.rmtree(state)
        shutil.copytree(copy, state)
        for _ in range(2):
            summary = fixture.run()
            assert (summary.failed, summary.left) == (0, 0)
        assert sim.ledger.billed("good") == 3
        assert {path: path.read_bytes() for path in fixture.output.glob("a_*/*")} == before
        assert not fixture.error.exists() or not list(fixture.error.iterdir())
        assert fixture.kept() == []
