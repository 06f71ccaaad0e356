"""What comes of a folder in batch mode: the outputs of live mode, at half price."""

import asyncio
import json

import pydantic
import pytest
from batch_fixture import (
    Ask,
    Chain,
    Twice,
    billed_twice,
    cost_of,
    lines_of,
    live_calls,
    question,
    until,
)

from openai_parallel_toolkit import (
    BatchOptions,
    ChatModel,
    ConfigError,
    EmbeddingModel,
    FilesFailed,
    Gpt35Turbo,
    IncompleteAnswer,
    RequestFailed,
    RequestRejected,
    ResponsesModel,
    arequest_openai_api,
    multi_process_one,
    request_openai_api,
)
from openai_parallel_toolkit.simulator import BatchCourse, Fault


class AskAsync(Ask):
    async def process_data(self, data):
        first, second = await asyncio.gather(
            arequest_openai_api(question(f"one {data}")),
            arequest_openai_api(question(f"two {data}")),
        )
        return first + second


class AskMany(Ask):
    def process_data(self, data):
        return multi_process_one([("p", f"{n} {data}") for n in range(5)], Gpt35Turbo)


@pytest.mark.parametrize("kind", [Ask, AskAsync, AskMany, Chain])
def test_outputs_are_those_of_live_mode_byte_for_byte(fixture, kind):
    sim = fixture.simulate()
    expected = fixture.inputs(12).live_outputs(kind)
    summary = fixture.configure(sim).run(kind)
    assert fixture.outputs() == expected
    assert len(expected) == summary.done == 12
    assert live_calls(sim) == []
    assert billed_twice(sim) == {}
    assert sim.files.stored() == []


def test_summary_and_journal_count_half_the_price(fixture):
    sim = fixture.simulate()
    summary = fixture.inputs(12).configure(sim).run(Chain)
    lines = lines_of(sim)
    assert (summary.calls.sent, summary.calls.answered, len(lines)) == (36, 36, 36)
    assert summary.calls.cost_usd == summary.calls.max_cost_usd == cost_of(lines) > 0
    assert summary.calls.tokens == sum(r.prompt_tokens + r.completion_tokens for r in lines)
    with fixture.journal() as journal:
        kept = journal.status().totals.all_runs
    assert (kept.sent, kept.answered, kept.unanswered) == (36, 36, 0)
    assert kept.cost_usd == kept.max_cost_usd == summary.calls.cost_usd


def test_a_second_run_sends_nothing(fixture):
    sim = fixture.simulate()
    fixture.inputs(5).configure(sim).run()
    before = len(sim.ledger.rows())
    summary = fixture.run()
    assert (summary.done, summary.skipped, summary.calls.sent) == (0, 5, 0)
    assert len(sim.ledger.rows()) == before


def test_answers_of_batches_are_replayed_in_live_mode_and_the_other_way_round(fixture):
    sim = fixture.simulate()
    fixture.inputs(4).configure(sim).run()
    live = fixture.run(mode="live", force=True)
    assert (live.done, live.calls.sent, live.calls.replayed) == (4, 0, 4)
    batch = fixture.run(force=True)
    assert (batch.done, batch.calls.sent, batch.calls.replayed) == (4, 0, 4)
    assert sim.ledger.billed() == 4


def test_full_batches_leave_while_hooks_still_run(fixture):
    sim = fixture.simulate()
    summary = fixture.inputs(20).configure(sim).run(batch={"max_lines": 6})
    assert summary.done == 20
    assert sorted(batch.total for batch in sim.batches.batches()) == [2, 6, 6, 6]


def test_a_batch_holds_no_more_bytes_than_max_bytes(fixture):
    sim = fixture.simulate()
    summary = fixture.inputs(10).configure(sim).run(batch={"max_bytes": 1500})
    assert summary.done == 10
    sizes = [len(batch.input_file.content) for batch in sim.batches.batches()]
    assert len(sizes) > 1
    assert max(sizes) <= 1500


def test_each_model_has_batches_of_its_own(fixture):
    class TwoModels(Ask):
        def process_data(self, data):
            other = Gpt35Turbo(content=data, model="gpt-4o-mini")
            return [*multi_process_one([("p", data)], Gpt35Turbo), request_openai_api(other)]

    sim = fixture.simulate()
    assert fixture.inputs(4).configure(sim).run(TwoModels).done == 4
    assert {batch.model for batch in sim.batches.batches()} == {"gpt-3.5-turbo", "gpt-4o-mini"}


def test_a_batch_that_is_not_full_leaves_when_its_oldest_line_is_old_enough(fixture):
    sim = fixture.simulate()

    class WaitsForAnother(Ask):
        def process_data(self, data):
            if "file 0:" in data:
                until(lambda: lines_of(sim))
            return super().process_data(data)

    summary = fixture.inputs(3).configure(sim).run(WaitsForAnother, batch={"max_age_s": 0.1})
    assert summary.done == 3
    assert len(sim.batches.batches()) > 1


def test_equal_calls_of_a_file_are_lines_of_their_own(fixture):
    class Samples(Ask):
        def process_data(self, data):
            return multi_process_one([("p", data)] * 3, Gpt35Turbo)

    sim = fixture.simulate()
    assert fixture.inputs(2).configure(sim).run(Samples).done == 2
    assert sim.ledger.billed() == 6
    assert sorted(billed_twice(sim).values()) == [3, 3]
    assert (fixture.run(Samples, force=True).calls.sent, sim.ledger.billed()) == (0, 6)


@pytest.mark.parametrize(
    ("model", "path"),
    [(EmbeddingModel, "/v1/embeddings"), (ResponsesModel, "/v1/responses")],
)
def test_other_apis_are_batched_as_well(fixture, model, path):
    class Other(Ask):
        def process_data(self, data):
            return request_openai_api(model("some-model", data))

    sim = fixture.simulate()
    expected = fixture.inputs(2).live_outputs(Other)
    assert fixture.configure(sim).run(Other).done == 2
    assert fixture.outputs() == expected
    assert {batch.endpoint for batch in sim.batches.batches()} == {path}


# Rounds


def test_a_hook_with_three_dependent_steps_takes_three_rounds(fixture):
    sim = fixture.simulate()
    assert fixture.inputs(6).configure(sim).run(Chain).done == 6
    assert [batch.total for batch in sim.batches.batches()] == [6, 6, 6]


def test_a_file_that_needs_more_rounds_than_allowed_fails_with_advice(fixture):
    sim = fixture.simulate()
    summary = fixture.inputs(3).configure(sim).run(Chain, max_batch_rounds=2)
    assert (summary.done, summary.failed) == (0, 3)
    assert all("multi_process_one" in line["message"] for line in fixture.failures())
    assert sim.ledger.billed() == 6
    # What was answered is kept, and the next run has rounds of its own.
    assert fixture.run(Chain, max_batch_rounds=2).done == 3
    assert billed_twice(sim) == {}


def test_a_file_that_needs_more_rounds_than_allowed_is_finished_live_when_told_so(fixture):
    sim = fixture.simulate()
    expected = fixture.inputs(3).live_outputs(Chain)
    summary = fixture.configure(sim).run(Chain, max_batch_rounds=2, finish="live")
    assert summary.done == 3
    assert (len(lines_of(sim)), len(live_calls(sim))) == (6, 3)
    assert fixture.outputs() == expected
    assert summary.calls.cost_usd == cost_of([*lines_of(sim), *live_calls(sim)])


def test_each_validation_retry_takes_a_round(fixture):
    """No answer can be valid, so that every try is made."""

    class Never(pydantic.BaseModel):
        number: int

        @pydantic.field_validator("number")
        @classmethod
        def refuse(cls, number):
            raise ValueError("no number is right")

    class Structured(Ask):
        def process_data(self, data):
            return request_openai_api(Gpt35Turbo(content=data, response_format=Never))

    sim = fixture.simulate()
    summary = fixture.inputs(2).configure(sim).run(Structured)
    assert (summary.failed, summary.left) == (2, 0)
    assert {line["kind"] for line in fixture.failures()} == {"InvalidAnswer"}
    assert [batch.total for batch in sim.batches.batches()] == [2, 2, 2]


# Lines that fail


def test_a_refused_line_is_told_to_its_hook_and_costs_nothing(fixture):
    sim = fixture.simulate(faults=[Fault("400", marker="file 1:", path="#line")])
    summary = fixture.inputs(4).configure(sim).run()
    assert (summary.done, summary.failed, summary.left) == (3, 1, 0)
    (line,) = fixture.failures()
    assert (line["file"], line["kind"]) == ("f001.txt", "RequestRejected")
    assert "temperature" in line["message"]
    assert (len(lines_of(sim)), sim.ledger.billed()) == (4, 3)
    with fixture.journal() as journal:
        assert journal.status().totals.all_runs.max_cost_usd == cost_of(lines_of(sim))
    sim.script.replace([])
    again = fixture.run()
    assert (again.done, again.calls.sent) == (1, 1), "a rerun asks again"


def test_a_hook_may_catch_a_refusal_and_write_an_output(fixture):
    class Catches(Ask):
        def process_data(self, data):
            try:
                return super().process_data(data)
            except RequestRejected as exc:
                return f"refused with {exc.status}"

    sim = fixture.simulate(faults=[Fault("400", marker="file 1:", path="#line")])
    summary = fixture.inputs(3).configure(sim).run(Catches)
    assert (summary.done, summary.failed) == (3, 0)
    assert json.loads(fixture.outputs()["f001.json"]) == "refused with 400"


def test_a_hook_may_ask_for_something_else_after_a_refusal(fixture):
    class FallsBack(Ask):
        def process_data(self, data):
            try:
                return super().process_data(data)
            except RequestRejected:
                return request_openai_api(question(f"shorter: {data[:4]}"))

    sim = fixture.simulate(faults=[Fault("400", marker="file 1:", path="#line")])
    summary = fixture.inputs(3).configure(sim).run(FallsBack)
    assert (summary.done, summary.failed, sim.ledger.billed()) == (3, 0, 3)


def test_a_line_whose_answer_is_of_no_use_is_asked_again(fixture):
    sim = fixture.simulate(faults=[Fault("no_choices", marker="file 1:", path="#line", times=1)])
    summary = fixture.inputs(3).configure(sim).run()
    assert (summary.done, summary.calls.unknown, sim.ledger.billed()) == (3, 1, 4)
    assert summary.calls.cost_usd < cost_of(lines_of(sim)) <= summary.calls.max_cost_usd


def test_a_run_that_stops_at_the_first_failure_tells_what_goes_on(fixture):
    class FirstFails(Ask):
        def process_data(self, data):
            if "file 0:" in data:
                until(sim.batches.batches)
                raise ValueError("no good")
            return super().process_data(data)

    sim = fixture.simulate()
    sim.batch_controls.hold()
    with pytest.raises(FilesFailed) as caught:
        fixture.inputs(5).configure(sim).run(FirstFails, fail_on_error=True, batch={"max_lines": 2})
    assert caught.value.summary.batch_calls_left > 0
    sim.batch_controls.release()
    assert fixture.run().done == 5
    assert sim.ledger.billed() == 5


def test_one_refused_item_of_many_does_not_cost_the_others(fixture):
    sim = fixture.simulate(faults=[Fault("400", marker="3 text of file 0:", path="#line")])
    summary = fixture.inputs(2).configure(sim).run(AskMany)
    assert (summary.done, summary.failed) == (1, 1)
    sim.script.replace([])
    assert (fixture.run(AskMany).calls.sent, sim.ledger.billed()) == (1, 10)


def test_a_line_that_fails_every_time_is_given_up_after_max_retries(fixture):
    class Catches(Ask):
        def process_data(self, data):
            try:
                return super().process_data(data)
            except RequestFailed as exc:
                return [exc.status, exc.attempts, exc.maybe_billed]

    sim = fixture.simulate(faults=[Fault("500", marker="file 1:", path="#line")])
    summary = fixture.inputs(3).configure(sim).run(Catches, max_retries=2)
    assert summary.done == 3
    assert json.loads(fixture.outputs()["f001.json"]) == [500, 3, 0]
    assert (len(lines_of(sim)), sim.ledger.billed()) == (5, 2)


def test_a_line_that_fails_once_goes_again_alone(fixture):
    sim = fixture.simulate(faults=[Fault("503", marker="file 1:", path="#line", times=1)])
    expected = fixture.inputs(5).live_outputs()
    assert fixture.configure(sim).run().done == 5
    assert [batch.total for batch in sim.batches.batches()] == [5, 1]
    assert fixture.outputs() == expected


def test_lines_that_nobody_asked_for_are_passed_over(fixture):
    sim = fixture.simulate()
    sim.batch_controls.always_follow(BatchCourse(strangers=7))
    summary = fixture.inputs(5).configure(sim).run()
    assert (summary.done, summary.calls.sent, summary.calls.answered) == (5, 5, 5)


def test_lost_lines_are_asked_again_and_counted_as_maybe_billed(fixture):
    sim = fixture.simulate()
    sim.batch_controls.follow(BatchCourse(lost_share=0.5))
    expected = fixture.inputs(10).live_outputs()
    summary = fixture.configure(sim).run()
    assert (summary.done, summary.calls.sent, summary.calls.answered) == (10, 15, 10)
    assert (summary.calls.unknown, sim.ledger.billed()) == (5, 15)
    assert summary.calls.cost_usd < cost_of(lines_of(sim)) <= summary.calls.max_cost_usd
    assert fixture.outputs() == expected


def test_a_line_that_is_lost_again_is_bought_no_third_time(fixture):
    """`max_unknown` bounds the doubt in batches as it does live."""
    sim = fixture.simulate()
    sim.batch_controls.always_follow(BatchCourse(lost_share=1.0))
    summary = fixture.inputs(2).configure(sim).run()
    assert summary.failed == 2
    assert {line["kind"] for line in fixture.failures()} == {"OutcomeUnknown"}
    assert sim.ledger.billed() == 4


# Batches that end early


@pytest.mark.parametrize("end", ["expired", "cancelled"])
def test_what_a_batch_did_not_come_to_goes_again(fixture, end):
    sim = fixture.simulate()
    sim.batch_controls.follow(BatchCourse(end, share=0.3))
    expected = fixture.inputs(20).live_outputs()
    summary = fixture.configure(sim).run()
    assert [batch.total for batch in sim.batches.batches()] == [20, 14]
    assert (summary.done, summary.calls.unknown, sim.ledger.billed()) == (20, 0, 20)
    assert billed_twice(sim) == {}
    assert fixture.outputs() == expected


def test_a_batch_that_failed_as_a_whole_goes_again(fixture):
    sim = fixture.simulate()
    sim.batch_controls.follow(BatchCourse("failed", message="A hiccup."))
    summary = fixture.inputs(6).configure(sim).run()
    assert (summary.done, sim.ledger.billed()) == (6, 6)
    assert [batch.status for batch in sim.batches.batches()] == ["failed", "completed"]
    assert sim.files.stored() == []


def test_a_batch_that_fails_as_a_whole_each_time_fails_its_files_with_the_reason(fixture):
    sim = fixture.simulate()
    sim.batch_controls.always_follow(BatchCourse("failed", message="No more of this."))
    summary = fixture.inputs(2).configure(sim).run(max_retries=1)
    assert summary.failed == 2
    assert all("No more of this." in line["message"] for line in fixture.failures())
    assert len(sim.batches.batches()) == 2


@pytest.mark.parametrize("end", ["expired", "cancelled", "failed"])
def test_what_a_batch_did_not_come_to_is_sent_live_when_told_so(fixture, end):
    sim = fixture.simulate()
    sim.batch_controls.follow(BatchCourse(end, share=0.3))
    expected = fixture.inputs(20).live_outputs()
    summary = fixture.configure(sim).run(finish="live")
    left = 20 if end == "failed" else 14
    assert (len(sim.batches.batches()), len(live_calls(sim))) == (1, left)
    assert (summary.done, sim.ledger.billed()) == (20, 20)
    assert summary.calls.cost_usd == cost_of(r for r in sim.ledger.rows() if r.billed)
    assert fixture.outputs() == expected


def test_impossible_options_name_the_field():
    with pytest.raises(ConfigError, match="max_lines"):
        BatchOptions(max_lines=0)
    with pytest.raises(ConfigError, match="poll_s"):
        BatchOptions(poll_s=-1)


class AsksOneThatThinks(Ask):
    def process_data(self, data):
        return request_openai_api(ChatModel("o4-mini", content=data, max_tokens=40, temperature=0))


def test_lines_to_a_model_that_thinks_carry_what_it_takes(fixture):
    picky = Fault("unsupported_temperature", path="#line", marker='"temperature"')
    sim = fixture.simulate(faults=[picky])
    summary = fixture.inputs(2).configure(sim).run(AsksOneThatThinks)
    files = (batch.input_file.content.splitlines() for batch in sim.batches.batches())
    sent = sorted(sorted(json.loads(line)["body"]) for lines in files for line in lines)
    first = ["max_completion_tokens", "messages", "model", "temperature"]
    assert (summary.done, sim.ledger.billed()) == (2, 2)
    assert sent == sorted([first] * 2 + [first[:3]] * 2)  # each line once more, without


class Gives(Twice):
    """Takes a word of its own where an answer is of no use."""

    def process_data(self, data):
        try:
            first = request_openai_api(question(f"first of {data}"))
        except IncompleteAnswer:
            first = "nothing"
        return [first, request_openai_api(question(f"second of {data}"))]


@pytest.mark.parametrize("finish", ["batch", "live"])
def test_an_unusable_answer_is_bought_once_a_run_and_again_in_a_later_one(fixture, finish):
    """The hooks run three times in the first run, and the cut answer is theirs each time."""
    sim = fixture.simulate(faults=[Fault("empty_content", marker="first of", times=1)])
    fixture.inputs(1).configure(sim)
    first = fixture.run(Gives, finish=finish)
    assert (first.done, sim.ledger.billed()) == (1, 2)
    with fixture.journal() as journal:
        kinds = [attempt.ending.kind.value for attempt in journal.file("f000.txt").attempts]
    assert kinds == ["unusable", "ok"]
    second = fixture.run(Gives, finish=finish, force=True)
    assert (second.done, sim.ledger.billed()) == (1, 3)
    assert "nothing" not in json.loads(fixture.outputs()["f000.json"])
