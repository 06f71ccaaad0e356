"""A file of prompts gives a file of answers in its order, and nothing is paid for twice."""

import json
import os
import shutil
import time
from decimal import Decimal

import pytest
from small_disk import small_disk

from openai_parallel_toolkit import FakeTransport
from openai_parallel_toolkit.api.prompts import PromptsOptions
from openai_parallel_toolkit.api.prompts.parameters import CHAT, RESPONSES
from openai_parallel_toolkit.core.errors import (
    BudgetExceeded,
    ConfigError,
    FilesFailed,
    NoUsableKey,
    RunLocked,
    StorageError,
    UsageError,
)
from openai_parallel_toolkit.core.records import RawReply
from openai_parallel_toolkit.files.run_lock import RunLock
from openai_parallel_toolkit.simulator import Fault, Latency, SimKey


def test_answers_come_in_the_order_of_the_lines_with_what_the_lines_call_themselves(fixture):
    sim = fixture.simulate(latency=Latency(0.02, 1.0))
    summary = fixture.numbers(60).run()
    found = fixture.lines()
    assert [line["id"] for line in found] == list(range(60))
    assert [line["line"] for line in found] == list(range(1, 61))
    assert all(f"number {line['id']}," in line["content"] for line in found)
    assert found[0]["finish_reason"] == "stop"
    assert found[0]["usage"]["completion_tokens"] > 0
    assert (summary.answered, summary.failed, summary.left) == (60, 0, 0)
    assert sim.ledger.billed() == 60
    assert not fixture.partial.exists()
    assert not fixture.errors.exists()


def test_blank_lines_are_passed_over_and_counted_in_the_line_numbers(fixture):
    fixture.simulate()
    fixture.write("one", "", "two").run()
    assert [line["line"] for line in fixture.lines()] == [1, 3]


def test_an_empty_file_gives_an_empty_output(fixture):
    fixture.simulate()
    assert fixture.write().run().answered == 0
    assert fixture.output.read_bytes() == b""


def test_equal_lines_are_asked_once_each(fixture):
    sim = fixture.simulate()
    fixture.write("same", "same", "same").run()
    assert sim.ledger.billed() == 3


def test_what_is_done_is_not_looked_at_again(fixture):
    sim = fixture.simulate()
    fixture.numbers(3).run()
    fixture.output.write_text("my own remarks")
    assert fixture.run().was_done
    assert fixture.output.read_text() == "my own remarks"
    assert fixture.run(force=True).calls.replayed == 3
    assert sim.ledger.hits() == 3


def test_lines_that_were_put_in_between_are_the_only_ones_that_are_asked(fixture):
    sim = fixture.simulate()
    fixture.write("a", "b", "b").run()
    summary = fixture.write("new", "b", "a", "b", "b").run()
    assert (summary.calls.sent, summary.calls.replayed) == (2, 3)
    assert [line["content"] for line in fixture.lines()] == ["new", "b", "a", "b", "b"]
    assert sim.ledger.billed() == 5


def test_an_output_that_was_deleted_comes_back_from_the_journal(fixture):
    sim = fixture.simulate()
    fixture.numbers(5).run()
    first = fixture.output.read_bytes()
    fixture.output.unlink()
    fixture.run()
    assert fixture.output.read_bytes() == first
    assert sim.ledger.hits() == 5


def test_other_settings_do_not_buy_everything_anew_without_being_told_to(fixture):
    sim = fixture.simulate()
    fixture.numbers(3).run()
    with pytest.raises(UsageError, match="--force"):
        fixture.run(model="gpt-4o")
    assert sim.ledger.hits() == 3
    fixture.run(model="gpt-4o", force=True)
    assert sim.ledger.billed() == 6


def test_another_format_costs_nothing(fixture):
    sim = fixture.simulate()
    fixture.write({"prompt": "a", "metadata": {"row": 1}}, {"custom_id": "x", "prompt": "b"}).run()
    fixture.run(output_format="cookbook")
    request, response, metadata = fixture.lines()[0]
    assert request["messages"] == [{"role": "user", "content": "a"}]
    assert response["choices"][0]["message"]["content"] == "a"
    assert metadata == {"row": 1}
    fixture.run(output_format="batch")
    first, second = fixture.lines()
    assert (first["custom_id"], second["custom_id"]) == ("line-1", "x")
    assert second["response"]["body"]["choices"][0]["message"]["content"] == "b"
    assert second["error"] is None
    assert sim.ledger.hits() == 2


def test_embeddings_give_vectors(fixture):
    fixture.simulate()
    many = {"model": "e", "input": ["x", "y"], "dimensions": 2}
    one = {"model": "e", "input": "x", "dimensions": 2}
    fixture.write(
        {"url": "/v1/embeddings", "body": one}, {"url": "/v1/embeddings", "body": many}
    ).run()
    first, second = (line["embedding"] for line in fixture.lines())
    assert len(first) == 2
    assert second[0] == first
    assert len(second) == 2


def test_a_failed_line_has_its_place_and_a_line_in_the_file_of_failures(fixture):
    refused = Fault("400", marker="number 1,", message="refused: sk-abcdefgh12345678")
    sim = fixture.simulate(faults=[refused])
    summary = fixture.numbers(3).run()
    assert (summary.answered, summary.failed) == (2, 1)
    place = fixture.lines()[1]
    assert (place["line"], place["id"]) == (2, 1)
    assert place["error"]["kind"] == "RequestRejected"
    (told,) = fixture.lines(fixture.errors)
    assert (told["line"], told["id"], told["status"]) == (2, 1, 400)
    assert "sk-abcdefgh" not in fixture.errors.read_text() + fixture.output.read_text()
    sim.script.replace([])
    again = fixture.run()
    assert (again.calls.sent, again.calls.replayed) == (1, 2)
    assert not fixture.errors.exists()
    assert all("content" in line for line in fixture.lines())


def test_failures_wait_for_their_turn_too(fixture):
    slow = Fault("slow", marker="number 0,", seconds=0.5)
    fixture.simulate(faults=[slow, Fault("400", marker="please")])
    fixture.numbers(200).run(max_workers=8)
    assert [line["id"] for line in fixture.lines()] == list(range(200))
    assert ["content" in line for line in fixture.lines()] == [True] + [False] * 199


def test_a_line_that_cannot_be_sent_fails_alone(fixture):
    sim = fixture.simulate()
    summary = fixture.write("a", {"body": {}, "url": "sk-0123456789abcdef"}, "b").run()
    assert (summary.answered, summary.failed) == (2, 1)
    assert sim.ledger.hits() == 2
    assert fixture.lines()[1]["error"]["message"].endswith("'[secret]'")
    assert "sk-0123" not in fixture.errors.read_text()


def test_the_requests_under_way_are_bounded(fixture):
    sim = fixture.simulate(latency=0.15)
    fixture.numbers(15).run(max_workers=3)
    assert sim.ledger.in_flight_peak == 3


def test_a_limit_of_requests_a_minute_is_kept_from_the_start(fixture):
    sim = fixture.simulate()
    since_s = time.monotonic()
    fixture.numbers(63).run(rate_limit=60)
    # A minute's worth at once, then one a second; on a slow machine no quicker than that.
    assert 2.9 < time.monotonic() - since_s < 40
    assert sim.ledger.billed() == 63


def test_money_that_is_spent_stops_the_run_and_more_money_finishes_it(fixture):
    sim = fixture.simulate()
    fixture.write(*({"prompt": f"number {n}", "max_tokens": 1000} for n in range(20)))
    with pytest.raises(BudgetExceeded) as caught:
        fixture.run(max_cost=Decimal("0.00062"), max_workers=1)
    assert caught.value.summary.left > 0
    assert not fixture.output.exists()
    asked = sim.ledger.billed()
    assert 0 < asked < 20
    assert fixture.run(max_cost=Decimal(1)).calls.replayed == asked
    assert sim.ledger.billed() == 20


def test_without_a_usable_key_the_run_stops_and_another_goes_on(fixture):
    fixture.simulate(SimKey("good", quota=5))
    with pytest.raises(NoUsableKey) as caught:
        fixture.numbers(20).run(max_workers=2)
    assert caught.value.summary.answered == 5
    fixture.simulate("good")
    assert fixture.run().calls.replayed == 5
    assert len(fixture.lines()) == 20


def test_a_second_run_on_the_same_output_is_refused(fixture):
    fixture.simulate()
    fixture.numbers(1).run()
    lock = RunLock(str(fixture.state))
    lock.acquire()
    with pytest.raises(RunLocked):
        fixture.run()
    lock.release()


@pytest.mark.parametrize("name", ["out.jsonl", "out.errors.jsonl", "out.jsonl.partial"])
def test_a_file_that_somebody_else_wrote_is_not_written_over(fixture, name):
    fixture.simulate()
    (fixture.root / name).write_text("precious")
    with pytest.raises(UsageError, match="move it away"):
        fixture.numbers(1).run()
    assert (fixture.root / name).read_text() == "precious"


def test_the_input_is_not_written_over(fixture):
    fixture.simulate()
    fixture.output.symlink_to(fixture.numbers(1).input)
    with pytest.raises(UsageError, match="written over"):
        fixture.run()


@pytest.mark.parametrize("name", ["missing", "."])
def test_an_input_that_is_no_file_is_told(fixture, name):
    fixture.simulate()
    fixture.input = fixture.root / name
    with pytest.raises(UsageError, match="file"):
        fixture.run()


def test_an_input_that_changes_meanwhile_gives_no_output(fixture):
    sim = fixture.simulate(latency=0.3)
    fixture.numbers(1)

    class Changes:
        """Appends a line while the first is asked."""

        def __init__(self, inner):
            self.inner = inner

        async def send(self, request, lease, *, timeout_s):
            with fixture.input.open("a") as file:
                file.write(json.dumps({"prompt": "late"}) + "\n")
            return await self.inner.send(request, lease, timeout_s=timeout_s)

        async def close(self):
            await self.inner.close()

    from openai_parallel_toolkit.transport import default_transport

    with pytest.raises(UsageError, match="changed meanwhile"):
        fixture.run(transport=Changes(default_transport(None)))
    assert not fixture.output.exists()
    fixture.run()
    assert len(fixture.lines()) == 2
    assert sim.ledger.billed() == 2


def test_a_full_disk_stops_the_run_and_keeps_what_is_under_way(fixture):
    sim = fixture.simulate(latency=Latency(0.1, 0.5))
    fixture.numbers(120)
    with small_disk(fixture.root / "small-disk") as disk:
        fixture.put_output(disk.path)
        (disk.path / "others").write_text("x")
        disk.fill()
        with pytest.raises(StorageError) as caught:
            fixture.run(max_workers=8, state_path=str(fixture.state))
        assert caught.value.exit_code == 5
        assert caught.value.path == str(fixture.partial)
        asked = sim.ledger.billed()
        assert asked < 120
        assert fixture.figures().answered == asked
        disk.enlarge()
        assert fixture.run(state_path=str(fixture.state)).calls.replayed == asked
        assert len(fixture.lines()) == 120
    assert sim.ledger.billed() == 120


@pytest.mark.parametrize(
    "wrong",
    [
        {"output_format": "xml"},
        {"max_workers": 0},
        {"rate_limit": 0},
        {"token_rate_limit": -1},
        {"grace_s": -1},
        {"max_cost": Decimal("NaN")},
    ],
)
def test_a_setting_that_cannot_work_is_named(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        PromptsOptions(input_path="i", output_path="o", **wrong)


def test_fields_that_are_not_sent_are_told_once(fixture, caplog):
    fixture.simulate()
    fixture.write("one", *({"prompt": f"{n}", "answer": "a", "row": n} for n in range(5))).run()
    told = [r.getMessage() for r in caplog.records if getattr(r, "action", "") == "fields_not_sent"]
    assert len(told) == 1
    assert f"{fixture.input}, line 2: not sent are the fields answer, row" in told[0]


def test_a_line_with_a_field_that_is_no_parameter_fails_by_its_number_and_costs_nothing(fixture):
    sim = fixture.simulate()
    summary = fixture.write("one", {"prompt": "two", "max_new_tokens": 5}).run()
    (failure,) = [json.loads(line) for line in fixture.errors.read_text().splitlines()]
    assert (summary.answered, summary.failed, sim.ledger.billed()) == (1, 1, 1)
    assert (failure["line"], failure["kind"]) == (2, "UsageError")
    assert "max_new_tokens is no parameter" in failure["message"]


CALL = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"}
OLDER = {"name": "weather", "arguments": "{}"}
TOOL_CALLS = [{"id": "c1", "type": "function", "function": OLDER}]


def _answer(path, message, items=()):
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "input_tokens": 1, "output_tokens": 1}
    if path == RESPONSES:
        return {"status": "completed", "output": [{"type": "reasoning"}, *items], "usage": usage}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    return {"choices": [choice], "usage": usage}


@pytest.mark.parametrize(
    ("path", "answer", "calls"),
    [
        (CHAT, _answer(CHAT, {"content": None, "tool_calls": TOOL_CALLS}), TOOL_CALLS),
        (
            CHAT,
            _answer(CHAT, {"content": None, "function_call": OLDER}),
            [{"type": "function", "function": OLDER}],
        ),
        (RESPONSES, _answer(RESPONSES, None, [CALL, {"type": "web_search_call"}]), [CALL]),
    ],
)
def test_an_answer_that_calls_tools_has_its_calls_in_the_output(fixture, path, answer, calls):
    fixture.simulate()
    reply = RawReply(status=200, headers={}, body=json.dumps(answer).encode())
    transport = FakeTransport(lambda request, lease: reply)
    fixture.write({"prompt": "the weather?"}).run(transport=transport, path=path)
    (line,) = fixture.lines()
    assert line["tool_calls"] == calls


def test_an_answer_that_was_cut_is_written_with_its_ending(fixture):
    fixture.simulate(faults=[Fault("finish_length")])
    assert fixture.numbers(1).run().answered == 1
    (line,) = fixture.lines()
    assert (line["finish_reason"], bool(line["content"])) == ("length", True)


def test_an_answer_with_nothing_in_it_is_a_failure_and_is_asked_again(fixture):
    sim = fixture.simulate(faults=[Fault("empty_content", marker="number 1", times=2)])
    first = fixture.numbers(3).run()
    assert (first.answered, first.failed) == (2, 1)
    assert [line.get("error", {}).get("kind") for line in fixture.lines()] == [
        None, "IncompleteAnswer", None
    ]  # fmt: skip
    assert fixture.run().failed == 1
    last = fixture.run()
    assert (last.answered, last.failed, last.calls.sent) == (3, 0, 1)
    assert "number 1" in fixture.lines()[1]["content"]
    assert (sim.ledger.billed(), fixture.run().was_done) == (5, True)


@pytest.mark.parametrize(
    ("rows", "embedding"),
    [
        ([{"embedding": [1.0]}, {"embedding": [2.0]}], [[1.0], [2.0]]),
        ([{"index": 1, "embedding": "AAAAQA=="}, {"index": 0, "embedding": [1.0]}], [[1.0], [2.0]]),
        ([{"index": 0, "embedding": [1.0]}], None),
    ],
)
def test_vectors_are_as_many_as_the_texts_in_their_order(fixture, rows, embedding):
    def answer(request, lease):
        return RawReply(status=200, headers={}, body=json.dumps({"data": rows}).encode())

    fixture.simulate()
    line = {"url": "/v1/embeddings", "body": {"model": "m", "input": ["a", "b"]}}
    fixture.write(line).run(transport=FakeTransport(answer))
    (found,) = fixture.lines()
    assert found.get("embedding") == embedding
    assert ("error" in found) == (embedding is None)


def test_lines_without_an_answer_are_raised_once_all_others_have_theirs(fixture):
    fixture.simulate()
    fixture.write({"id": 1, "prompt": "one"}, {"id": 2, "prompt": "two", "n": "many"})
    with pytest.raises(FilesFailed, match="1 of 2 lines got no answer; see ") as caught:
        fixture.run(fail_on_error="end")
    assert (caught.value.summary.answered, caught.value.summary.failed) == (1, 1)
    assert fixture.run().failed == 1


@pytest.mark.parametrize("format", ["flat", "cookbook", "batch"])
def test_after_the_journal_was_lost_or_put_back_the_answers_that_are_there_count(fixture, format):
    sim = fixture.simulate()
    fixture.write("one", {"id": "two", "prompt": "2"}).run(output_format=format)
    copy = fixture.root / "copy"
    shutil.copytree(fixture.state, copy)
    fixture.write("one", {"id": "two", "prompt": "2"}, "three").run(output_format=format)
    before, billed = fixture.output.read_bytes(), sim.ledger.billed("good")
    for way in ("put back", "lost"):
        shutil.rmtree(fixture.state)
        if way == "put back":
            shutil.copytree(copy, fixture.state)
        for _ in range(2):
            assert fixture.run(output_format=format).was_done
    assert (fixture.output.read_bytes(), sim.ledger.billed("good")) == (before, billed)
    fixture.write("one", {"id": "two", "prompt": "2"}, "four").run(output_format=format)
    assert sim.ledger.billed("good") > billed


def test_an_output_with_a_failed_line_or_of_an_older_input_does_not_count(fixture):
    sim = fixture.simulate()
    fixture.write("one", {"messages": 3}).run()
    shutil.rmtree(fixture.state)
    fixture.errors.unlink()
    with pytest.raises(UsageError, match="there already"):
        fixture.run()
    fixture.output.unlink()
    fixture.write("one").run()
    shutil.rmtree(fixture.state)
    os.utime(fixture.input, (time.time() + 5, time.time() + 5))
    with pytest.raises(UsageError, match="there already"):
        fixture.run()
    assert sim.ledger.billed("good") == 2
