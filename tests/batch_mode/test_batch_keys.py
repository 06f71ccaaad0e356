"""Keys in batch mode: who gets which batch, what limits them, and what comes of dead ones."""

import math
import threading

import pytest
from batch_fixture import MODEL, billed_twice, key_fields, lines_of, live_calls, start, until

from openai_parallel_toolkit import ConfigError, NoUsableKey
from openai_parallel_toolkit.batch.token_quota import EnqueuedTokenQuota
from openai_parallel_toolkit.core.redaction import Secret
from openai_parallel_toolkit.journal.batch_rows import BatchRecord, BatchStage
from openai_parallel_toolkit.keys.config import APIKey
from openai_parallel_toolkit.simulator import BatchCourse, Fault, SimKey


def peak(sim, key="good"):
    return max(count.peak for count in sim.batches.enqueued()[key].values())


def job_tokens(sim):
    """The prompt tokens of all lines, as the provider counts them."""
    return sum(row.prompt_tokens for row in lines_of(sim))


def test_enqueued_tokens_are_never_more_than_a_key_may_have(fixture):
    quiet = fixture.simulate()
    fixture.inputs(50).configure(quiet).run(output=fixture.root / "quiet")
    limit = job_tokens(quiet) // 5
    sim = fixture.simulate(SimKey("good", enqueued_tokens=limit))
    summary = fixture.configure(sim).run()
    assert summary.done == 50
    assert 0 < peak(sim) <= limit
    assert len(sim.batches.batches()) >= 5
    assert {batch.status for batch in sim.batches.batches()} == {"completed"}


def test_a_limit_of_enqueued_tokens_that_nobody_told_of_is_learned(fixture):
    quiet = fixture.simulate()
    fixture.inputs(50).configure(quiet).run(output=fixture.root / "quiet")
    limit = job_tokens(quiet) // 5
    sim = fixture.simulate(SimKey("good", enqueued_tokens=limit))
    fields = [{"key": "sim-good", "name": "good"}]
    summary = fixture.configure_at(sim.url, fields).run()
    assert (summary.done, summary.calls.sent) == (50, 50)
    assert billed_twice(sim) == {}
    refused = [batch for batch in sim.batches.batches() if batch.status == "failed"]
    assert 0 < len(refused) <= 4, "each refusal halves what is tried"


def test_a_creation_that_is_refused_is_told_to_the_files(fixture):
    refusal = Fault("400", path="/batches", times=1, message="No such window")
    sim = fixture.simulate(faults=[refusal])
    summary = fixture.inputs(3).configure(sim).run()
    assert (summary.failed, summary.calls.sent, sim.files.stored()) == (3, 0, [])
    assert all("No such window" in line["message"] for line in fixture.failures())
    assert fixture.run().done == 3


@pytest.mark.crash
def test_a_batch_that_was_never_asked_for_does_not_wait_for_its_key(fixture, caplog):
    sim = fixture.simulate("gone", "other")
    fixture.inputs(6).configure_at(sim.url, [{"key": "sim-gone", "name": "gone"}])
    with start(fixture, place="batch.uploading:1") as child:
        child.communicate(timeout=100)
    summary = fixture.configure_at(sim.url, [{"key": "sim-other", "name": "other"}]).run()
    assert (summary.done, sim.ledger.billed("other"), billed_twice(sim)) == (6, 6, {})
    assert "cannot be looked after" not in caplog.text
    with fixture.journal() as journal:
        totals = journal.status().totals.all_runs
    assert (totals.unknown, totals.unanswered) == (0, 0)


def test_batches_are_spread_over_the_keys(fixture):
    sim = fixture.simulate("a", "b", "c")
    summary = fixture.inputs(30).configure(sim).run(batch={"max_lines": 5})
    assert summary.done == 30
    by_key = {key: sum(row.key == key for row in lines_of(sim)) for key in "abc"}
    assert by_key == {"a": 10, "b": 10, "c": 10}


def test_keys_with_room_take_what_others_have_no_room_for(fixture):
    sim = fixture.simulate(SimKey("small", enqueued_tokens=60), SimKey("big"))
    summary = fixture.inputs(30).configure(sim).run(batch={"max_lines": 5})
    assert summary.done == 30
    assert all(batch.status == "completed" for batch in sim.batches.batches())


def test_the_lines_of_a_key_that_is_dead_from_the_start_go_to_the_others(fixture, caplog):
    sim = fixture.simulate(SimKey("dead", valid=False), SimKey("good"))
    summary = fixture.inputs(20).configure(sim).run(batch={"max_lines": 5})
    assert (summary.done, summary.calls.sent, sim.ledger.billed("good")) == (20, 20, 20)
    assert {key.name: key.state for key in summary.keys} == {"dead": "dropped", "good": "alive"}
    told = [r for r in caplog.records if "dead" in r.getMessage() and "drop" in r.getMessage()]
    assert len(told) == 1


def test_a_run_whose_keys_are_all_dead_says_so(fixture):
    sim = fixture.simulate(SimKey("dead", valid=False), SimKey("poor", unpaid=True))
    with pytest.raises(NoUsableKey) as caught:
        fixture.inputs(4).configure(sim).run()
    assert (caught.value.summary.done, caught.value.summary.left) == (0, 4)
    assert caught.value.summary.calls.sent == 0
    assert sim.ledger.billed() == 0


def test_a_key_that_is_topped_up_is_forgiven_when_a_batch_has_brought_answers(fixture):
    sim = fixture.simulate(faults=[Fault("insufficient_quota", path="/files")])
    with pytest.raises(NoUsableKey):
        fixture.inputs(2).configure(sim).run()
    with fixture.journal() as journal:
        assert "good" in journal.status().dropped
    sim.script.replace([])
    summary = fixture.run()
    assert (summary.done, [key.state for key in summary.keys]) == (2, ["alive"])
    with fixture.journal() as journal:
        assert journal.status().dropped == {}


def test_a_batch_whose_key_dies_is_left_and_taken_in_when_the_key_is_back(fixture, caplog):
    sim = fixture.simulate("a", "b")
    fixture.inputs(10).configure(sim)
    sim.batch_controls.hold()

    def kill_a():
        until(lambda: len(sim.batches.batches()) == 2)
        sim.script.append([Fault("401", method="GET", key="a")])
        sim.batch_controls.release()

    killer = threading.Thread(target=kill_a)
    killer.start()
    summary = fixture.run(batch={"max_lines": 5})
    killer.join()
    assert (summary.done, summary.failed, summary.left) == (5, 0, 5)
    assert (summary.batches_left, summary.batch_calls_left) == (1, 5)
    assert "next run comes back to it" in caplog.text
    sim.script.replace([])
    again = fixture.run()
    assert (again.done, again.calls.sent, again.batches_left) == (5, 0, 0)
    assert sim.ledger.billed() == 10
    assert sim.files.stored() == []


def test_a_rerun_without_the_key_that_owns_a_batch_says_so(fixture, caplog):
    sim = fixture.simulate("a", "b")
    fixture.inputs(4).configure_at(sim.url, [key_fields(sim.keys[0])])
    sim.batch_controls.hold()
    with start(fixture) as child:
        until(lambda: any(batch.status == "in_progress" for batch in sim.batches.batches()))
        child.kill()
    sim.batch_controls.release()
    fixture.configure_at(sim.url, [key_fields(sim.keys[1])])
    summary = fixture.run()
    assert (summary.done, summary.left, summary.calls.sent) == (0, 4, 0)
    assert summary.batches_left == 1
    assert "belongs to the key a" in caplog.text
    fixture.configure(sim)
    assert (fixture.run().done, sim.ledger.billed()) == (4, 4)


def test_a_model_that_a_key_does_not_have_is_asked_of_the_others(fixture):
    sim = fixture.simulate(SimKey("without", models=["other"]), "with")
    summary = fixture.inputs(6).configure(sim).run(batch={"max_lines": 3})
    assert (summary.done, summary.failed) == (6, 0)


def test_a_server_without_a_batch_api_is_told_apart(fixture):
    missing = Fault("400", path="/files", status=404, message="Not Found")
    sim = fixture.simulate(faults=[missing])
    with pytest.raises(ConfigError, match='mode="live"') as caught:
        fixture.inputs(3).configure(sim).run()
    assert caught.value.summary.left == 3
    assert sim.ledger.billed() == 0
    assert fixture.run(mode="live").done == 3


def test_one_key_without_a_batch_api_leaves_its_lines_to_the_others(fixture):
    missing = Fault("400", path="/files", status=404, message="Not Found", key="a")
    sim = fixture.simulate("a", "b", faults=[missing])
    summary = fixture.inputs(10).configure(sim).run(batch={"max_lines": 3})
    assert (summary.done, sim.ledger.billed("b")) == (10, 10)


def test_an_azure_deployment_with_a_name_of_its_own_serves_the_model(fixture):
    sim = fixture.simulate(SimKey("azure", deployments=["my-deployment"]))
    expected = fixture.inputs(5).live_outputs()
    key = key_fields(
        sim.keys[0],
        api_base=sim.azure_endpoint,
        azure_deployment="my-deployment",
        api_version="2024-10-21",
    )
    summary = fixture.configure_at(sim.url, [key]).run()
    assert (summary.done, summary.failed, sim.ledger.billed()) == (5, 0, 5)
    assert [batch.model for batch in sim.batches.batches()] == ["my-deployment"]
    assert [batch.endpoint for batch in sim.batches.batches()] == ["/chat/completions"]
    assert sim.files.stored() == []
    assert set(fixture.outputs()) == set(expected)
    assert summary.calls.cost_usd > 0


def test_a_key_whose_quota_ends_in_a_batch_leaves_the_rest_to_the_others(fixture):
    sim = fixture.simulate(SimKey("short", quota=3), "good")
    summary = fixture.inputs(20).configure(sim).run(batch={"max_lines": 10})
    assert (summary.done, sim.ledger.billed()) == (20, 20)
    assert {key.name: key.state for key in summary.keys} == {"short": "dropped", "good": "alive"}
    assert sum(row.status != 200 for row in lines_of(sim)) == 7


def test_a_key_that_only_its_lines_speak_against_gets_no_further_batch(fixture):
    sim = fixture.simulate("a", "b", faults=[Fault("insufficient_quota", key="a", path="#line")])
    summary = fixture.inputs(20).configure(sim).run(batch={"max_lines": 10})
    assert (summary.done, sim.ledger.billed("b")) == (20, 20)
    assert sum(row.key == "a" for row in lines_of(sim)) == 10


def test_a_key_that_may_spend_no_more_fails_its_batch_as_a_whole(fixture):
    sim = fixture.simulate("a", "b")
    sim.batch_controls.follow(BatchCourse("failed", code="billing_hard_limit_reached"))
    summary = fixture.inputs(4).configure(sim).run()
    assert (summary.done, summary.calls.sent, sim.ledger.billed()) == (4, 4, 4)
    assert sorted(key.state for key in summary.keys) == ["alive", "dropped"]


def test_a_batch_of_an_earlier_run_that_was_one_too_many_goes_again(fixture):
    sim = fixture.simulate()
    sim.batch_controls.follow(BatchCourse("failed", code="token_limit_exceeded"))
    fixture.inputs(4).configure(sim)
    with start(fixture, place="batch.created:1") as child:
        child.communicate(timeout=100)
    summary = fixture.run()
    assert (summary.done, summary.calls.sent, summary.calls.answered) == (4, 4, 4)
    assert (len(sim.batches.batches()) > 1, sim.ledger.billed()) == (True, 4)


def test_half_of_what_was_too_much_is_tried_beside_what_is_out():
    allowance = EnqueuedTokenQuota([APIKey(secret=Secret("sk"), name="key")])
    allowance.enter(record(tokens=10, lines=1))
    refuse(allowance, tokens=1000, lines=50)
    assert allowance.most("key", MODEL) == 500
    refuse(allowance, tokens=1000)
    assert allowance.most("key", MODEL) == 10, "a single line waits for the others"
    assert allowance.bound("key", MODEL).tokens == math.inf


@pytest.mark.parametrize(
    ("message", "is_alone", "bounds"),
    [
        ("Too much. Limit: 1,999 enqueued tokens.", False, [1999]),
        ("surpassed the configured limit of 1.5K for the deployment", False, [1500]),
        ("Limit: 4,001 enqueued tokens.", True, [math.inf] * 5),
        ("Limit: 2,100 enqueued tokens.", True, [math.inf, math.inf, 1999]),
        ("Limit: 2,100 enqueued tokens.", False, [math.inf] * 5),
        ("Too much.", True, [math.inf, math.inf, 1999]),
        ("Too much.", False, [math.inf] * 5),
    ],
    ids=[
        "larger than the limit that is stated",
        "larger than Azure's",
        "far below it: others use it up",
        "about as large",
        "about as large, beside others",
        "nothing is stated",
        "nothing is stated, beside others",
    ],
)
def test_a_line_counts_as_too_large_once_nothing_else_explains_its_refusals(
    message, is_alone, bounds
):
    allowance = EnqueuedTokenQuota([APIKey(secret=Secret("sk"), name="key")])
    for bound in bounds:
        refuse(allowance, tokens=2000, message=message, is_alone=is_alone)
        assert allowance.bound("key", MODEL).tokens == bound
    assert allowance.bound("key", "another model").tokens == math.inf


def refuse(allowance, *, tokens, lines=1, message="", is_alone=True):
    batch = record(tokens=tokens, lines=lines)
    allowance.refused(batch, 0.0, message=message, is_alone=is_alone)


# A line that is larger than what may wait

LIMIT = 60


def with_one_large_file(fixture, sim, *, is_told):
    """Seven files, the first of which has a prompt of more tokens than LIMIT."""
    fixture.inputs(7)
    (fixture.input / "f000.txt").write_text("many words " * 100)
    key = key_fields(sim.keys[0])
    if not is_told:
        del key["enqueued_tokens"]
    return fixture.configure_at(sim.url, [key])


@pytest.mark.parametrize("is_told", [True, False], ids=["told", "learned"])
def test_a_line_that_no_key_can_take_fails_in_its_hook_and_holds_nobody_up(fixture, is_told):
    sim = fixture.simulate(SimKey("good", enqueued_tokens=LIMIT))
    summary = with_one_large_file(fixture, sim, is_told=is_told).run()
    assert (summary.done, summary.failed, summary.left) == (6, 1, 0)
    (failure,) = fixture.failures()
    assert (failure["file"], failure["kind"]) == ("f000.txt", "RequestFailed")
    told = "enqueued_tokens in its settings" if is_told else "Enqueued token limit reached"
    for part in ["was put into no batch", "the key good", f"{LIMIT} tokens ({told}", "finish="]:
        assert part in failure["message"]
    statuses = {batch.status for batch in sim.batches.batches()}
    assert statuses == ({"completed"} if is_told else {"completed", "failed"})
    assert sim.ledger.billed() == 6
    assert sim.files.stored() == []


@pytest.mark.parametrize("is_told", [True, False], ids=["told", "learned"])
def test_a_line_that_no_key_can_take_is_finished_live_when_told_so(fixture, is_told):
    sim = fixture.simulate(SimKey("good", enqueued_tokens=LIMIT))
    summary = with_one_large_file(fixture, sim, is_told=is_told).run(finish="live")
    assert (summary.done, summary.failed, summary.left) == (7, 0, 0)
    assert (len(live_calls(sim)), sim.ledger.billed(), billed_twice(sim)) == (1, 7, {})


def test_a_line_that_one_key_can_take_waits_for_that_key(fixture):
    sim = fixture.simulate(
        SimKey("small", enqueued_tokens=LIMIT), SimKey("big", enqueued_tokens=400)
    )
    fixture.inputs(7).configure(sim)
    for name in ("f000.txt", "f003.txt", "f006.txt"):
        (fixture.input / name).write_text("many words " * 100)
    assert fixture.run().done == 7
    assert {batch.status for batch in sim.batches.batches()} == {"completed"}
    assert sim.ledger.billed() == 7


def test_a_line_fails_when_the_only_key_that_could_take_it_is_dead(fixture):
    sim = fixture.simulate(SimKey("small", enqueued_tokens=LIMIT), SimKey("big", valid=False))
    with_one_large_file(fixture, sim, is_told=True).configure(sim)
    summary = fixture.run()
    assert (summary.done, summary.failed) == (6, 1)
    assert "the key small" in fixture.failures()[0]["message"]


def test_a_line_of_which_nobody_says_how_large_it_may_be_is_tried_three_times(fixture):
    sim = fixture.simulate()
    refusal = BatchCourse("failed", code="token_limit_exceeded", message="Too much.")
    sim.batch_controls.always_follow(refusal)
    summary = fixture.inputs(1).configure(sim).run()
    assert (summary.done, summary.failed) == (0, 1)
    assert len(sim.batches.batches()) == 3


def record(*, tokens, lines):
    return BatchRecord(
        id=1,
        run_id=1,
        key_name="key",
        fingerprint="",
        path="/chat/completions",
        model=MODEL,
        token="t",
        lines=lines,
        tokens=tokens,
        stage=BatchStage.CREATED,
        input_file_id=None,
        remote_id=None,
        formed_wall_s=0.0,
    )
