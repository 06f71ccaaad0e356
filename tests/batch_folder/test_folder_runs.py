"""A folder of batch files in; results, errors and metadata out; nothing left at the provider."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time

import pytest
from folder_fixture import MODEL, FolderFixture, a_line

from openai_parallel_toolkit import FilesFailed, NoUsableKey, RunLocked
from openai_parallel_toolkit.core.text import dollars
from openai_parallel_toolkit.files.run_lock import RunLock
from openai_parallel_toolkit.simulator import BatchCourse, Fault, SimKey, Simulator


def test_every_input_ends_with_its_results_metadata_and_itself_in_a_folder_with_the_time(
    fixture, sim
):
    fixture.put("a.jsonl")
    fixture.put("deep/er/b.jsonl")
    summary = fixture.run()
    assert (summary.done, summary.failed, summary.left) == (2, 0, 0)
    assert (summary.lines_answered, summary.lines_failed) == (6, 0)
    assert summary.prompt_tokens > 0
    assert summary.cost_usd > 0
    for name in ("a.jsonl", "deep/er/b.jsonl"):
        answers = fixture.results(name)
        assert set(answers) == {f"{name}-{n}" for n in range(3)}
        assert all(line["response"]["status_code"] == 200 for line in answers.values())
    assert fixture.waiting() == []
    assert not list(fixture.error.rglob("*.jsonl"))
    [moved] = fixture.output.glob("deep/er/b_2*/b.jsonl")
    assert moved.read_text().count("\n") == 3


def test_nothing_is_left_at_the_provider_nor_in_the_state_folder(fixture, sim):
    fixture.put("a.jsonl")
    fixture.run()
    assert sim.files.stored() == []
    assert fixture.kept() == []


def test_metadata_tells_a_program_what_belongs_to_what(fixture, sim):
    fixture.put("a.jsonl")
    fixture.run(count_tokens=True)
    told = fixture.metadata("a.jsonl")
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


@pytest.mark.parametrize("counts", [True, False])
def test_metadata_has_the_accelerators_fields_as_well(fixture, sim, counts):
    fixture.put("deep/a.jsonl")
    fixture.run(count_tokens=counts)
    told = fixture.metadata("deep/a.jsonl")
    [batch] = sim.batches.batches()
    assert told["file_name"] == "deep/a.jsonl"
    assert (told["batch_job_id"], told["file_id"]) == (batch.id, batch.input_file.id)
    assert told["output_file_name"] == "a_output.jsonl"
    assert told["token_size"] == (told["tokens"]["counted_prompt"] if counts else "N/A")


def test_results_may_be_called_as_the_accelerator_calls_them(fixture, sim):
    fixture.put("deep/a.part.json")
    fixture.run(names="accelerator", pattern="*.json")
    [folder] = fixture.output.glob("deep/*")
    assert re.fullmatch(r"a_\d{4}-\d\d-\d\d_\d\d_\d\d_\d\d", folder.name)
    stamp = time.strptime(folder.name.removeprefix("a_"), "%Y-%m-%d_%H_%M_%S")
    assert abs(time.mktime(stamp) - time.time()) < 100  # the machine's own time
    names = ["a.part.json", "a_metadata.json", "a_output.json"]
    assert sorted(path.name for path in folder.iterdir()) == names


def test_a_file_that_cannot_be_used_is_found_before_anything_is_sent(fixture, sim):
    lines = (a_line("a"), "{", a_line("a"), a_line("b", url="/v1/nothing"), a_line("c", model="x"))
    fixture.put("bad.jsonl", *lines)
    summary = fixture.run()
    assert (summary.done, summary.failed) == (0, 1)
    assert sim.ledger.rows() == []
    found = fixture.results("bad.jsonl", "error")
    assert {line: found[line]["code"] for line in found} == {
        2: "malformed_line",
        3: "duplicate_custom_id",
        4: "wrong_url",
        5: "mixed_models",
    }
    assert fixture.metadata("bad.jsonl", fixture.error)["findings_count"] == 4
    assert list(fixture.error.glob("bad_2*/bad.jsonl"))
    assert fixture.waiting() == []


def test_lines_that_fail_go_to_the_error_location_and_the_others_to_the_output(fixture, sim):
    sim.script.replace([Fault("400", path="#line", marker="poison")])
    fixture.put("a.jsonl", a_line("good"), a_line("bad", "poison"))
    summary = fixture.run()
    assert (summary.done, summary.partly_failed) == (1, 1)
    assert (summary.lines_answered, summary.lines_failed) == (1, 1)
    assert set(fixture.results("a.jsonl")) == {"good"}
    assert fixture.results("a.jsonl", "error")["bad"]["response"]["status_code"] == 400
    assert list(fixture.output.glob("a_2*/a.jsonl"))
    assert list(fixture.error.glob("a_2*/a.jsonl"))
    assert fixture.metadata("a.jsonl", fixture.error) == fixture.metadata("a.jsonl")


def test_lines_that_fail_in_passing_are_asked_again_and_only_those(fixture, sim):
    sim.script.replace([Fault("500", path="#line", marker="stumble", times=1)])
    fixture.put("a.jsonl", a_line("good"), a_line("slow", "stumble"))
    assert fixture.run().lines_answered == 2
    asked = [row.custom_id for row in sim.ledger.rows() if row.batch]
    assert sorted(asked) == ["good", "slow", "slow"]
    assert len(fixture.metadata("a.jsonl")["batches"]) == 2


@pytest.mark.parametrize("end", ["expired", "cancelled"])
def test_a_batch_that_ends_early_keeps_its_answers_and_asks_the_rest_again(fixture, sim, end):
    sim.batch_controls.follow(BatchCourse(end, share=0.5))
    fixture.put("a.jsonl", *[a_line(f"l{n}", f"text {n}") for n in range(10)])
    assert fixture.run().lines_answered == 10
    assert len(fixture.results("a.jsonl")) == 10
    rows = [row for row in sim.ledger.rows() if row.batch]
    assert len(rows) == 10
    assert [one["status"] for one in fixture.metadata("a.jsonl")["batches"]] == [end, "completed"]
    assert sim.files.stored() == []


def test_answers_of_a_first_batch_are_kept_when_a_second_one_is_refused(fixture, sim):
    sim.batch_controls.follow(BatchCourse("expired", share=0.5))
    sim.script.replace([Fault("400", path="/batches", at={4})])
    fixture.put("a.jsonl", *[a_line(f"l{n}", f"text {n}") for n in range(6)])
    summary = fixture.run()
    assert (summary.lines_answered, summary.lines_failed) == (3, 3)
    assert len(fixture.results("a.jsonl")) == 3
    assert len(fixture.results("a.jsonl", "error")) == 3
    assert fixture.metadata("a.jsonl")["findings"][0]["code"] == "invalid_value"


def test_an_uploaded_file_that_has_expired_is_sent_again(fixture, sim):
    sim.script.replace([Fault("429", path="/batches", retry_after=99)])
    fixture.put("a.jsonl")
    assert "run again" in fixture.run().reasons[0]
    for file in sim.files.stored():
        sim.files.delete(file)
    sim.script.replace([])
    assert fixture.run().done == 1


def test_after_max_attempts_what_is_not_answered_is_an_error(fixture, sim):
    sim.batch_controls.always_follow(BatchCourse("expired", share=0.5))
    fixture.put("a.jsonl", *[a_line(f"l{n}", f"text {n}") for n in range(8)])
    summary = fixture.run(max_attempts=2)
    assert (summary.lines_answered, summary.lines_failed) == (6, 2)
    codes = {line["error"]["code"] for line in fixture.results("a.jsonl", "error").values()}
    assert codes == {"batch_expired"}


def test_answers_that_the_service_lost_are_asked_again_and_strangers_are_left_out(fixture, sim):
    sim.batch_controls.follow(BatchCourse(lost_share=0.5, strangers=2))
    fixture.put("a.jsonl", *[a_line(f"l{n}", f"text {n}") for n in range(4)])
    assert fixture.run().lines_answered == 4
    assert set(fixture.results("a.jsonl")) == {f"l{n}" for n in range(4)}
    assert fixture.metadata("a.jsonl")["lines"]["strangers"] == 2


def test_of_lines_that_come_twice_the_first_counts_and_it_is_told(fixture, sim, caplog):
    sim.batch_controls.follow(BatchCourse(repeats=2))
    fixture.put("a.jsonl", *[a_line(f"l{n}", f"text {n}") for n in range(4)])
    assert fixture.run().lines_answered == 4
    assert "Again" not in str(fixture.results("a.jsonl"))
    assert "2 lines that came before, 2 of them with other words" in caplog.text


@pytest.mark.parametrize(("code", "batches"), [("mismatched_model", 1), ("nobody_knows", 3)])
def test_a_batch_that_fails_as_a_whole_goes_to_the_error_location_with_the_reason(
    fixture, sim, code, batches
):
    """At once where the code says that it always will, else after `max_attempts`."""
    sim.batch_controls.always_follow(BatchCourse("failed", code=code, message="no such model"))
    fixture.put("a.jsonl")
    assert fixture.run().failed == 1
    assert fixture.results("a.jsonl", "error")[None]["code"] == code
    assert len(sim.batches.batches()) == batches
    assert fixture.waiting() == []
    assert sim.files.stored() == []


def test_too_many_enqueued_tokens_are_waited_for_and_no_error(tmp_path):
    key = SimKey("test", enqueued_tokens=40)
    with Simulator([key], batch_seconds=0.1) as sim:
        fixture = FolderFixture(tmp_path, sim)
        for n in range(4):
            fixture.put(f"{n}.jsonl", a_line("x", "five words are in here " * 4))
        summary = fixture.run()
        assert (summary.done, summary.failed) == (4, 0)
        assert sim.ledger.summary().lines.billed == 4


def test_no_more_files_than_batch_size_are_under_way(fixture, sim):
    sim.batch_controls.set_pace(seconds=0.3)
    for n in range(5):
        fixture.put(f"{n}.jsonl")
    most = 0
    folder = fixture.folder(batch_size=2)

    def look():
        nonlocal most
        most = max(most, len([b for b in sim.batches.batches() if not b.is_over]))

    sim_row = sim.batches.create  # every creation is a moment to look

    def create(*args, **kwargs):
        batch = sim_row(*args, **kwargs)
        look()
        return batch

    sim.batches.create = create
    folder.run()
    assert most == 2


def test_files_are_spread_over_the_keys_and_each_is_collected_under_its_own(tmp_path):
    with Simulator([SimKey("one"), SimKey("two")], batch_seconds=0.1) as sim:
        fixture = FolderFixture(tmp_path, sim)
        for n in range(6):
            fixture.put(f"{n}.jsonl")
        assert fixture.run().done == 6
        keys = [batch.key for batch in sim.batches.batches()]
        assert sorted(keys) == ["one"] * 3 + ["two"] * 3
        assert sim.files.stored() == []


def test_a_dead_key_is_told_and_its_files_go_to_the_others(tmp_path):
    with Simulator([SimKey("dead", quota="none"), SimKey("good")], batch_seconds=0.1) as sim:
        fixture = FolderFixture(tmp_path, sim)
        for n in range(4):
            fixture.put(f"{n}.jsonl")
        summary = fixture.run()
        assert summary.done == 4
        assert list(summary.dropped_keys) == ["dead"]
        assert {batch.key for batch in sim.batches.batches()} == {"good"}


def test_when_no_key_is_left_the_inputs_stay_and_the_error_says_so(fixture, sim):
    fixture.give_keys("sim-nobody")
    fixture.put("a.jsonl")
    with pytest.raises(NoUsableKey, match="no key can take a batch") as caught:
        fixture.run()
    assert caught.value.summary.left == 1
    assert fixture.waiting() == ["a.jsonl"]
    fixture.give_keys("sim-test")
    assert fixture.run().done == 1


def test_a_batch_waits_for_its_own_key_to_come_back(tmp_path):
    with Simulator([SimKey("one"), SimKey("two")], batch_seconds=0.1) as sim:
        fixture = FolderFixture(tmp_path, sim)
        fixture.put("a.jsonl")
        sim.script.replace([Fault("401", method="GET", path=a_batch_path(sim), times=1)])
        summary = fixture.run()
        assert (summary.left, summary.batches_left) == (1, 1)
        assert "its batch belongs to one" in summary.reasons[0]
        assert list(summary.dropped_keys) == ["one"]
        assert fixture.run().done == 1
        assert len(sim.batches.batches()) == 1


def a_batch_path(sim):
    """What the path of the next batch ends with."""
    return f"{1:024x}"


def test_hidden_files_other_files_and_results_inside_the_input_are_no_inputs(fixture, sim):
    fixture.output, fixture.error = fixture.input / "done", fixture.input / "bad"
    fixture.put("a.jsonl")
    fixture.put(".hidden/b.jsonl")
    fixture.put("notes.txt")
    assert fixture.run().done == 1
    assert fixture.run().done == 0
    assert (fixture.input / "notes.txt").exists()


def test_an_input_of_a_name_that_was_there_before_gets_a_folder_of_its_own(fixture, sim):
    for _ in range(2):
        fixture.put("a.jsonl")
        fixture.run()
    assert len(list(fixture.output.glob("a_2*/a_output.jsonl"))) == 2


def test_an_input_that_is_replaced_while_it_is_under_way_is_taken_as_a_new_one(fixture, sim):
    path = fixture.put("a.jsonl")
    original = sim.batches.create

    def create(*args, **kwargs):
        path.write_text(a_line("new") + "\n")
        return original(*args, **kwargs)

    sim.batches.create = create
    fixture.run()
    sim.batches.create = original
    assert fixture.waiting() == ["a.jsonl"]
    assert fixture.run().done == 1
    found = [
        json.loads(line)["custom_id"]
        for output in fixture.output.glob("a_2*/a_output.jsonl")
        for line in output.read_text().splitlines()
    ]
    assert sorted(found) == ["a.jsonl-0", "a.jsonl-1", "a.jsonl-2", "new"]


def test_a_second_run_is_told_who_works_there(fixture, sim):
    fixture.run()
    lock = RunLock(fixture.folder().settings.state_folder)
    lock.acquire()
    try:
        with pytest.raises(RunLocked):
            fixture.run()
    finally:
        lock.release()


def test_a_reply_that_is_lost_makes_no_second_file_and_no_second_batch(fixture, sim):
    sim.script.replace(
        [
            Fault("cut_body", path="/files", times=1),
            Fault("cut_body", path="/batches", times=1),
        ]
    )
    fixture.put("a.jsonl")
    assert fixture.run().done == 1
    assert len(sim.batches.batches()) == 1
    assert sim.ledger.summary().lines.billed == 3
    assert sim.files.stored() == []


def test_a_service_that_stumbles_is_tried_again(fixture, sim):
    sim.script.replace(
        [
            Fault("500", path="/files", times=1),
            Fault("429", path="/batches", times=1),
            Fault("500", method="GET", path="/content", times=1),
        ]
    )
    fixture.put("a.jsonl")
    assert fixture.run().done == 1
    assert len(sim.batches.batches()) == 1


def test_it_runs_where_an_event_loop_runs_already_as_in_a_notebook(fixture, sim):
    fixture.put("a.jsonl")

    async def cell():
        return fixture.run()

    assert asyncio.run(cell()).done == 1


def test_the_summary_reads_as_a_paragraph_and_as_json(fixture, sim):
    fixture.put("a.jsonl")
    fixture.put("bad.jsonl", "{")
    summary = fixture.run()
    assert "Files: 1 done, 1 failed in" in str(summary)
    assert "Lines: 3 answered, 1 failed" in str(summary)
    plain = json.loads(json.dumps(summary.as_dict()))
    assert plain["done"] == 1
    assert float(plain["cost_usd"]) > 0
    assert os.path.isdir(plain["output_path"])


# What may be billed without anybody saying how much


def test_the_most_that_a_run_can_have_cost_is_the_cost_when_nothing_is_in_doubt(fixture, sim):
    fixture.put("a.jsonl")
    summary = fixture.run()
    assert summary.max_cost_usd == summary.cost_usd > 0
    assert summary.lines_in_doubt == 0
    assert "at most" not in str(summary)
    assert fixture.metadata("a.jsonl")["max_cost_usd"] == str(summary.cost_usd)


def test_lines_that_a_batch_lost_are_told_as_cost_that_is_not_known(fixture, sim):
    sim.batch_controls.follow(BatchCourse(lost_share=0.5))
    fixture.put("a.jsonl", *[a_line(f"{n}", f"say {n}", max_tokens=9) for n in range(4)])
    summary = fixture.run()
    assert (summary.lines_answered, summary.lines_failed, summary.lines_in_doubt) == (4, 0, 2)
    paid = [row for row in sim.ledger.rows() if row.batch]
    billed_usd = sum(0.15 * r.prompt_tokens + 0.6 * r.completion_tokens for r in paid) / 2e6
    assert float(summary.cost_usd) < billed_usd <= float(summary.max_cost_usd)
    known, most = dollars(summary.cost_usd), dollars(summary.max_cost_usd)
    assert f"{known} known, at most {most}" in str(summary)
    assert "In doubt: 2 lines" in str(summary)
    assert summary.as_dict()["max_cost_usd"] == str(summary.max_cost_usd)
    assert fixture.metadata("a.jsonl")["lines_in_doubt"] == 2


def test_a_batch_that_has_vanished_may_be_billed_whole(fixture, sim):
    sim.script.append([Fault("400", method="GET", path=f"{1:024x}", status=404)])  # the batch's id
    fixture.put("a.jsonl")
    summary = fixture.run()
    assert (summary.failed, summary.lines_in_doubt) == (1, 3)
    assert summary.max_cost_usd > summary.cost_usd == 0
    assert "cost unknown, at most $" in str(summary)


def test_lines_that_failed_are_raised_once_all_else_is_done(fixture, sim):
    sim.script.replace([Fault("400", path="#line", marker="poison")])
    fixture.put("a.jsonl", a_line("good"), a_line("bad", "poison"))
    fixture.put("b.jsonl")
    with pytest.raises(FilesFailed, match=r"of 2 files 1 failed in part; see ") as caught:
        fixture.run(fail_on_error="end")
    assert (caught.value.summary.done, caught.value.summary.left) == (2, 0)
    assert set(fixture.results("b.jsonl")) == {"b.jsonl-0", "b.jsonl-1", "b.jsonl-2"}
