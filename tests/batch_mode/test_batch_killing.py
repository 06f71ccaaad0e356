"""kill -9 at every step of a batch, and replies that are lost: nothing is bought or made twice."""

import json
import os
import random
import signal
import subprocess
import time

import pytest
from batch_fixture import Ask, Twice, billed_twice, lines_of, live_calls, start

from openai_parallel_toolkit.simulator import Fault

FILES = 6
#: Where a process may die, in the order in which it comes there.
PLACES = {
    "batch is being formed": "batch.forming:1",
    "batch is formed": "batch.formed:1",
    "file is being written": "batch.writing:1",
    "before the upload": "batch.uploading:1",
    "upload is not noted": "batch.upload_answered:1",
    "before the creation": "batch.uploaded:1",
    "creation is not noted": "batch.create_answered:1",
    "created": "batch.created:1",
    "polling": "batch.polled:2",
    "over": "batch.over:1",
    "downloaded": "batch.downloaded:1",
    "answers are half committed": "journal.endings_inserted:1",
    "second batch's answers are half committed": "journal.endings_inserted:2",
    "answers are kept": "batch.lines_settled:1",
    "before it is noted as collected": "batch.results_kept:1",
    "before the deletions": "batch.collected:1",
    "between deletions": "batch.deleting:2",
    "before it is closed": "batch.deleting:4",
    "closed": "batch.closed:1",
    "files are taken up again": "files.taken_up:1",
    "second round is formed": "batch.formed:3",
    "second round is kept": "batch.lines_settled:3",
    "outputs are staged": "outputs.publishing:2",
}


def check_whole(fixture, sim, expected):
    """All is done, each answer was bought once, and nothing is left anywhere."""
    assert fixture.outputs() == expected
    assert billed_twice(sim) == {}
    assert (sim.ledger.billed(), len(lines_of(sim))) == (2 * FILES, 2 * FILES)
    assert live_calls(sim) == []
    assert sim.files.stored() == []
    spool = fixture.state / "batches"
    assert list(spool.iterdir()) == []
    with fixture.journal() as journal:
        status = journal.status()
        totals = status.totals.all_runs
        assert {s.value: n for s, n in status.files.items() if n} == {"done": FILES}
    assert (totals.answered, totals.unknown, totals.unanswered) == (2 * FILES, 0, 0)
    assert totals.cost_usd == totals.max_cost_usd


def test_the_books_of_a_run_that_nobody_kills(fixture):
    sim = fixture.simulate()
    expected = fixture.inputs(FILES).live_outputs(Twice)
    fixture.configure(sim)
    with start(fixture, Twice, max_lines=4) as child:
        out, err = child.communicate(timeout=100)
    assert child.returncode == 0, err.decode()
    assert json.loads(out.splitlines()[-1])["done"] == FILES
    assert len(sim.batches.batches()) == 4
    check_whole(fixture, sim, expected)


@pytest.mark.crash
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_a_run_that_is_killed_goes_on_where_it_was(fixture, place):
    sim = fixture.simulate()
    expected = fixture.inputs(FILES).live_outputs(Twice)
    fixture.configure(sim)
    with start(fixture, Twice, max_lines=4, place=place) as child:
        _, err = child.communicate(timeout=100)
    assert child.returncode == -signal.SIGKILL, f"it never came there {err.decode()}"
    assert set(fixture.outputs().items()) <= set(expected.items())
    summary = fixture.run(Twice, batch={"max_lines": 4})
    assert (summary.done + summary.skipped, summary.failed, summary.left) == (FILES, 0, 0)
    check_whole(fixture, sim, expected)


@pytest.mark.crash
@pytest.mark.parametrize("path", ["/files", "/batches"])
def test_a_run_that_is_killed_before_a_reply_comes_makes_nothing_twice(fixture, path):
    """The provider has done what was asked; nobody is there to be told."""
    children = []

    def kill(row):
        if children and row.path.endswith(path):
            os.kill(children.pop().pid, signal.SIGKILL)

    sim = fixture.simulate(on_post=kill)
    expected = fixture.inputs(FILES).live_outputs(Twice)
    fixture.configure(sim)
    with start(fixture, Twice, max_lines=4) as child:
        children.append(child)
        child.communicate(timeout=100)
    assert child.returncode == -signal.SIGKILL
    fixture.run(Twice, batch={"max_lines": 4})
    assert sum(batch.total for batch in sim.batches.batches()) == 2 * FILES
    check_whole(fixture, sim, expected)


@pytest.mark.crash
@pytest.mark.timeout(900)
def test_a_run_that_is_killed_again_and_again_ends_like_one_that_is_not(fixture, request):
    is_full = request.config.getoption("--full")
    seed = int(time.time()) if is_full else 5
    print("seed", seed)
    chance = random.Random(seed)
    expected = fixture.inputs(FILES).live_outputs(Twice)
    for turn in range(20 if is_full else 1):
        sim = fixture.simulate(batch_seconds=0.4)
        fixture.output = fixture.root / f"out{turn}"
        fixture.state = fixture.output / fixture.state.name
        fixture.configure(sim)
        kills = 0
        while True:
            with start(fixture, Twice, max_lines=4) as child:
                try:
                    # Longer each time, so that a slow machine comes to an end as well.
                    lives_s = chance.uniform(0.3, 0.9) * (1 + kills / 10)
                    _, err = child.communicate(timeout=lives_s)
                    assert child.returncode == 0, err.decode()
                    break
                except subprocess.TimeoutExpired:
                    kills += 1
        with fixture.journal() as journal:
            # Killed twice while it ran alone, a file is taken for the one that kills.
            aside = {one.note.kind for one in journal.failures()}
        print(f"{kills} kills {aside or ''}")
        assert aside <= {"ProcessDied"}
        if aside:
            fixture.run(Twice, batch={"max_lines": 4}, retry_failed=True)
        check_whole(fixture, sim, expected)


@pytest.mark.crash
def test_a_batch_that_is_listed_late_is_not_made_again(fixture):
    """The process dies before the batch's id is noted; the next one does not find it at first."""
    sim = fixture.simulate()
    expected = fixture.inputs(FILES).live_outputs(Twice)
    fixture.configure(sim)
    with start(fixture, Twice, max_lines=4, place=PLACES["creation is not noted"]) as child:
        child.communicate(timeout=100)
    assert child.returncode == -signal.SIGKILL
    sim.batch_controls.set_pace(listed_after_s=1.5)
    fixture.run(Twice, batch={"max_lines": 4, "listed_within_s": 4})
    assert sum(batch.total for batch in sim.batches.batches()) == 2 * FILES
    check_whole(fixture, sim, expected)


# Replies that are lost


def test_what_was_made_and_not_confirmed_is_found_and_not_made_again(fixture):
    kinds = ["cut_body", "reset_before", "500"]
    faults = [Fault(kind, path=path, times=1) for path in ("/files", "/batches") for kind in kinds]
    sim = fixture.simulate(faults=faults)
    expected = fixture.inputs(12).live_outputs(Ask)
    summary = fixture.configure(sim).run(batch={"max_lines": 2})
    assert sorted(r.fault for r in sim.ledger.rows() if r.fault) == sorted(kinds * 2)
    assert (summary.done, summary.calls.sent, summary.calls.unknown) == (12, 12, 0)
    assert [batch.total for batch in sim.batches.batches()] == [2] * 6
    assert sim.ledger.billed() == 12
    assert sim.files.stored() == []
    assert fixture.outputs() == expected


def test_a_file_that_vanished_before_its_batch_was_created_is_uploaded_again(fixture):
    sim = fixture.simulate()
    expected = fixture.inputs(FILES).live_outputs(Twice)
    fixture.configure(sim)
    with start(fixture, Twice, max_lines=4, place=PLACES["before the creation"]) as child:
        child.communicate(timeout=100)
    for file in sim.files.stored():
        sim.files.delete(file)
    fixture.run(Twice, batch={"max_lines": 4})
    check_whole(fixture, sim, expected)


@pytest.mark.parametrize("kind", ["503", "cut_body"])
def test_trouble_while_batches_are_looked_after_passes(fixture, kind):
    """Looking, downloading and deleting are done again."""
    faults = [Fault(kind, method=method, times=1) for method in ("GET", "DELETE")]
    sim = fixture.simulate(faults=faults)
    summary = fixture.inputs(3).configure(sim).run()
    assert (summary.done, sim.ledger.billed(), sim.files.stored()) == (3, 3, [])
