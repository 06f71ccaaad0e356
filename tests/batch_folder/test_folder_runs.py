"""A folder of batch files in; results, errors and metadata out; nothing left at the provider."""

from __future__ import annotations

import asyncio
import json
import os

import pytest
from folder_kit import MODEL, Bench, a_line

from openai_parallel_toolkit import NoUsableKey, RunLocked
from openai_parallel_toolkit.files.run_lock import RunLock
from openai_parallel_toolkit.simulator import BatchCourse, Fault, SimKey, Simulator


def test_every_input_ends_with_its_results_metadata_and_itself_in_a_folder_with_the_time(
    bench, sim
):
    bench.put("a.jsonl")
    bench.put("deep/er/b.jsonl")
    summary = bench.run()
    assert (summary.done, summary.failed, summary.left) == (2, 0, 0)
    assert (summary.lines_answered, summary.lines_failed) == (6, 0)
    assert summary.prompt_tokens > 0
    assert summary.cost_usd > 0
    for name in ("a.jsonl", "deep/er/b.jsonl"):
        answers = bench.results(name)
        assert set(answers) == {f"{name}-{n}" for n in range(3)}
        assert all(line["response"]["status_code"] == 200 for line in answers.values())
    assert bench.waiting() == []
    assert not list(bench.error.rglob("*.jsonl"))
    [moved] = bench.output.glob("deep/er/b_2*/b.jsonl")
    assert moved.read_text().count("\n") == 3


def test_nothing_is_left_at_the_provider_nor_in_the_state_folder(bench, sim):
    bench.put("a.jsonl")
    bench.run()
    assert sim.files.stored() == []
    assert bench.kept() == []


def test_metadata_tells_a_program_what_belongs_to_what(bench, sim):
    bench.put("a.jsonl")
    bench.run(count_tokens=True)
    told = bench.metadata("a.jsonl")
    [batch] = sim.batches.batches()
    assert told["input"] == "a.jsonl"
    assert told["batch_id"] == batch.id
    assert told["input_file_id"] == batch.input_file.id
    assert told["output_file_id"] == batch.output_file_id
    assert told["error_file_id"] is None
    assert told["lines"] == {"total": 3, "answered": 3, "failed": 0, "strangers": 0}
    assert told["model"] == MODEL
    assert told["status"] == "completed"
    assert told["tokens"]["prompt"] == batch.prompt_tokens
    assert told["tokens"]["counted_prompt"] > 0
    list_price = 0.15 * batch.prompt_tokens + 0.6 * batch.completion_tokens
    assert float(told["cost_usd"]) == pytest.approx(list_price / 2 / 1e6)
    assert told["batches"][0]["key"] == "test"


def test_a_file_that_cannot_be_used_is_found_before_anything_is_sent(bench, sim):
    lines = (a_line("a"), "{", a_line("a"), a_line("b", url="/v1/nothing"), a_line("c", model="x"))
    bench.put("bad.jsonl", *lines)
    summary = bench.run()
    assert (summary.done, summary.failed) == (0, 1)
    assert sim.ledger.rows() == []
    found = bench.results("bad.jsonl", "error")
    assert {line: found[line]["code"] for line in found} == {
        2: "malformed_line",
        3: "duplicate_custom_id",
        4: "wrong_url",
        5: "mixed_models",
    }
    assert bench.metadata("bad.jsonl", bench.error)["findings_count"] == 4
    assert list(bench.error.glob("bad_2*/bad.jsonl"))
    assert bench.waiting() == []


def test_lines_that_fail_go_to_the_error_location_and_the_others_to_the_output(bench, sim):
    sim.script.replace([Fault("400", path="#line", marker="poison")])
    bench.put("a.jsonl", a_line("good"), a_line("bad", "poison"))
    summary = bench.run()
    assert (summary.done, summary.partly_failed) == (1, 1)
    assert (summary.lines_answered, summary.lines_failed) == (1, 1)
    assert set(bench.results("a.jsonl")) == {"good"}
    assert bench.results("a.jsonl", "error")["bad"]["response"]["status_code"] == 400
    assert list(bench.output.glob("a_2*/a.jsonl"))
    assert list(bench.error.glob("a_2*/a.jsonl"))
    assert bench.metadata("a.jsonl", bench.error) == bench.metadata("a.jsonl")


def test_lines_that_fail_in_passing_are_asked_again_and_only_those(bench, sim):
    sim.script.replace([Fault("500", path="#line", marker="stumble", times=1)])
    bench.put("a.jsonl", a_line("good"), a_line("slow", "stumble"))
    assert bench.run().lines_answered == 2
    asked = [row.custom_id for row in sim.ledger.rows() if row.batch]
    assert sorted(asked) == ["good", "slow", "slow"]
    assert len(bench.metadata("a.jsonl")["batches"]) == 2


@pytest.mark.parametrize("end", ["expired", "cancelled"])
def test_a_batch_that_ends_early_keeps_its_answers_and_asks_the_rest_again(bench, sim, end):
    sim.batch_controls.follow(BatchCourse(end, share=0.5))
    bench.put("a.jsonl", *[a_line(f"l{n}", f"text {n}") for n in range(10)])
    assert bench.run().lines_answered == 10
    assert len(bench.results("a.jsonl")) == 10
    rows = [row for row in sim.ledger.rows() if row.batch]
    assert len(rows) == 10
    assert [one["status"] for one in bench.metadata("a.jsonl")["batches"]] == [end, "completed"]
    assert sim.files.stored() == []


def test_answers_of_a_first_batch_are_kept_when_a_second_one_is_refused(bench, sim):
    sim.batch_controls.follow(BatchCourse("expired", share=0.5))
    sim.script.replace([Fault("400", path="/batches", at={4})])
    bench.put("a.jsonl", *[a_line(f"l{n}", f"text {n}") for n in range(6)])
    summary = bench.run()
    assert (summary.lines_answered, summary.lines_failed) == (3, 3)
    assert len(bench.results("a.jsonl")) == 3
    assert len(bench.results("a.jsonl", "error")) == 3
    assert bench.metadata("a.jsonl")["findings"][0]["code"] == "invalid_value"


def test_an_uploaded_file_that_has_expired_is_sent_again(bench, sim):
    sim.script.replace([Fault("429", path="/batches", retry_after=99)])
    bench.put("a.jsonl")
    assert "run again" in bench.run().reasons[0]
    for file in sim.files.stored():
        sim.files.delete(file)
    sim.script.replace([])
    assert bench.run().done == 1


def test_after_max_attempts_what_is_not_answered_is_an_error(bench, sim):
    sim.batch_controls.always_follow(BatchCourse("expired", share=0.5))
    bench.put("a.jsonl", *[a_line(f"l{n}", f"text {n}") for n in range(8)])
    summary = bench.run(max_attempts=2)
    assert (summary.lines_answered, summary.lines_failed) == (6, 2)
    codes = {line["error"]["code"] for line in bench.results("a.jsonl", "error").values()}
    assert codes == {"batch_expired"}


def test_answers_that_the_service_lost_are_asked_again_and_strangers_are_left_out(bench, sim):
    sim.batch_controls.follow(BatchCourse(lost_share=0.5, strangers=2))
    bench.put("a.jsonl", *[a_line(f"l{n}", f"text {n}") for n in range(4)])
    assert bench.run().lines_answered == 4
    assert set(bench.results("a.jsonl")) == {f"l{n}" for n in range(4)}
    assert bench.metadata("a.jsonl")["lines"]["strangers"] == 2


@pytest.mark.parametrize(("code", "batches"), [("mismatched_model", 1), ("nobody_knows", 3)])
def test_a_batch_that_fails_as_a_whole_goes_to_the_error_location_with_the_reason(
    bench, sim, code, batches
):
    """At once where the code says that it always will, else after `max_attempts`."""
    sim.batch_controls.always_follow(BatchCourse("failed", code=code, message="no such model"))
    bench.put("a.jsonl")
    assert bench.run().failed == 1
    assert bench.results("a.jsonl", "error")[None]["code"] == code
    assert len(sim.batches.batches()) == batches
    assert bench.waiting() == []
    assert sim.files.stored() == []


def test_too_many_enqueued_tokens_are_waited_for_and_no_error(tmp_path):
    key = SimKey("test", enqueued_tokens=40)
    with Simulator([key], batch_seconds=0.1) as sim:
        bench = Bench(tmp_path, sim)
        for n in range(4):
            bench.put(f"{n}.jsonl", a_line("x", "five words are in here " * 4))
        summary = bench.run()
        assert (summary.done, summary.failed) == (4, 0)
        assert sim.ledger.summary().lines.billed == 4


def test_no_more_files_than_batch_size_are_under_way(bench, sim):
    sim.batch_controls.set_pace(seconds=0.3)
    for n in range(5):
        bench.put(f"{n}.jsonl")
    most = 0
    folder = bench.folder(batch_size=2)

    class HangWatchdog:
        def show(self, *_):
            nonlocal most
            running = [b for b in sim.batches.batches() if not b.is_over]
            most = max(most, len(running))

    sim_row = sim.batches.create  # every creation is a moment to look

    def create(*args, **kwargs):
        batch = sim_row(*args, **kwargs)
        HangWatchdog().show()
        return batch

    sim.batches.create = create
    folder.run()
    assert most == 2


def test_files_are_spread_over_the_keys_and_each_is_collected_under_its_own(tmp_path):
    with Simulator([SimKey("one"), SimKey("two")], batch_seconds=0.1) as sim:
        bench = Bench(tmp_path, sim)
        for n in range(6):
            bench.put(f"{n}.jsonl")
        assert bench.run().done == 6
        keys = [batch.key for batch in sim.batches.batches()]
        assert sorted(keys) == ["one"] * 3 + ["two"] * 3
        assert sim.files.stored() == []


def test_a_dead_key_is_told_and_its_files_go_to_the_others(tmp_path):
    with Simulator([SimKey("dead", quota="none"), SimKey("good")], batch_seconds=0.1) as sim:
        bench = Bench(tmp_path, sim)
        for n in range(4):
            bench.put(f"{n}.jsonl")
        summary = bench.run()
        assert summary.done == 4
        assert list(summary.dropped_keys) == ["dead"]
        assert {batch.key for batch in sim.batches.batches()} == {"good"}


def test_when_no_key_is_left_the_inputs_stay_and_the_error_says_so(bench, sim):
    bench.give_keys("sim-nobody")
    bench.put("a.jsonl")
    with pytest.raises(NoUsableKey, match="no key can take a batch") as caught:
        bench.run()
    assert caught.value.summary.left == 1
    assert bench.waiting() == ["a.jsonl"]
    bench.give_keys("sim-test")
    assert bench.run().done == 1


def test_a_batch_waits_for_its_own_key_to_come_back(tmp_path):
    with Simulator([SimKey("one"), SimKey("two")], batch_seconds=0.1) as sim:
        bench = Bench(tmp_path, sim)
        bench.put("a.jsonl")
        sim.script.replace([Fault("401", method="GET", path=a_batch_path(sim), times=1)])
        summary = bench.run()
        assert (summary.left, summary.batches_left) == (1, 1)
        assert "its batch belongs to one" in summary.reasons[0]
        assert list(summary.dropped_keys) == ["one"]
        assert bench.run().done == 1
        assert len(sim.batches.batches()) == 1


def a_batch_path(sim):
    """What the path of the next batch ends with."""
    return f"{1:024x}"


def test_hidden_files_other_files_and_results_inside_the_input_are_no_inputs(bench, sim):
    bench.output, bench.error = bench.input / "done", bench.input / "bad"
    bench.put("a.jsonl")
    bench.put(".hidden/b.jsonl")
    bench.put("notes.txt")
    assert bench.run().done == 1
    assert bench.run().done == 0
    assert (bench.input / "notes.txt").exists()


def test_an_input_of_a_name_that_was_there_before_gets_a_folder_of_its_own(bench, sim):
    for _ in range(2):
        bench.put("a.jsonl")
        bench.run()
    assert len(list(bench.output.glob("a_2*/a_output.jsonl"))) == 2


def test_an_input_that_is_replaced_while_it_is_under_way_is_taken_as_a_new_one(bench, sim):
    path = bench.put("a.jsonl")
    original = sim.batches.create

    def create(*args, **kwargs):
        path.write_text(a_line("new") + "\n")
        return original(*args, **kwargs)

    sim.batches.create = create
    bench.run()
    sim.batches.create = original
    assert bench.waiting() == ["a.jsonl"]
    assert bench.run().done == 1
    found = [
        json.loads(line)["custom_id"]
        for output in bench.output.glob("a_2*/a_output.jsonl")
        for line in output.read_text().splitlines()
    ]
    assert sorted(found) == ["a.jsonl-0", "a.jsonl-1", "a.jsonl-2", "new"]


def test_a_second_run_is_told_who_works_there(bench, sim):
    bench.run()
    lock = RunLock(bench.folder().settings.state_folder)
    lock.acquire()
    try:
        with pytest.raises(RunLocked):
            bench.run()
    finally:
        lock.release()


def test_a_reply_that_is_lost_makes_no_second_file_and_no_second_batch(bench, sim):
    sim.script.replace(
        [
            Fault("cut_body", path="/files", times=1),
            Fault("cut_body", path="/batches", times=1),
        ]
    )
    bench.put("a.jsonl")
    assert bench.run().done == 1
    assert len(sim.batches.batches()) == 1
    assert sim.ledger.summary().lines.billed == 3
    assert sim.files.stored() == []


def test_a_service_that_stumbles_is_tried_again(bench, sim):
    sim.script.replace(
        [
            Fault("500", path="/files", times=1),
            Fault("429", path="/batches", times=1),
            Fault("500", method="GET", path="/content", times=1),
        ]
    )
    bench.put("a.jsonl")
    assert bench.run().done == 1
    assert len(sim.batches.batches()) == 1


def test_it_runs_where_an_event_loop_runs_already_as_in_a_notebook(bench, sim):
    bench.put("a.jsonl")

    async def cell():
        return bench.run()

    assert asyncio.run(cell()).done == 1


def test_the_summary_reads_as_a_paragraph_and_as_json(bench, sim):
    bench.put("a.jsonl")
    bench.put("bad.jsonl", "{")
    summary = bench.run()
    assert "Files: 1 done, 1 failed in" in str(summary)
    assert "Lines: 3 answered, 1 failed" in str(summary)
    plain = json.loads(json.dumps(summary.as_dict()))
    assert plain["done"] == 1
    assert float(plain["cost_usd"]) > 0
    assert os.path.isdir(plain["output_path"])


# What may be billed without anybody saying how much


def test_the_most_that_a_run_can_have_cost_is_the_cost_when_nothing_is_in_doubt(bench, sim):
    bench.put("a.jsonl")
    summary = bench.run()
    assert summary.max_cost_usd == summary.cost_usd > 0
    assert summary.lines_in_doubt == 0
    assert "at most" not in str(summary)
    assert bench.metadata("a.jsonl")["max_cost_usd"] == str(summary.cost_usd)


def test_lines_that_a_batch_lost_are_told_as_cost_that_is_not_known(bench, sim):
    sim.batch_controls.follow(BatchCourse(lost_share=0.5))
    bench.put("a.jsonl", *[a_line(f"{n}", f"say {n}", max_tokens=9) for n in range(4)])
    summary = bench.run()
    assert (summary.lines_answered, summary.lines_failed, summary.lines_in_doubt) == (4, 0, 2)
    paid = [row for row in sim.ledger.rows() if row.batch]
    billed_usd = sum(0.15 * r.prompt_tokens + 0.6 * r.completion_tokens for r in paid) / 2e6
    assert float(summary.cost_usd) < billed_usd <= float(summary.max_cost_usd)
    assert f"${summary.cost_usd:.4f} known, at most ${summary.max_cost_usd:.4f}" in str(summary)
    assert "In doubt: 2 lines" in str(summary)
    assert summary.as_dict()["max_cost_usd"] == str(summary.max_cost_usd)
    assert bench.metadata("a.jsonl")["lines_in_doubt"] == 2


def test_a_batch_that_has_vanished_may_be_billed_whole(bench, sim):
    sim.script.append([Fault("400", method="GET", path=f"{1:024x}", status=404)])  # the batch's id
    bench.put("a.jsonl")
    summary = bench.run()
    assert (summary.failed, summary.lines_in_doubt) == (1, 3)
    assert summary.max_cost_usd > summary.cost_usd == 0
    assert "$0.0000 known, at most $" in str(summary)
