"""Hooks in batch mode and folders of batch files: what becomes of a failed batch is the same."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack

import pytest
from folder_fixture import FolderFixture, a_line

from openai_parallel_toolkit import (
    APIKeyManager,
    BatchOptions,
    ChatModel,
    ParallelToolkit,
    request_openai_api,
)
from openai_parallel_toolkit.batch.judgement import ended_batch, judge_line, line_cost_usd
from openai_parallel_toolkit.batch.service import BatchIssue, RemoteBatch, read_result
from openai_parallel_toolkit.core.records import OutcomeKind, Usage
from openai_parallel_toolkit.costs.model_price import ModelPrice
from openai_parallel_toolkit.costs.prices import PriceBook
from openai_parallel_toolkit.simulator import BatchCourse, Fault, SimKey, Simulator

TEXTS = [f"text {n}" for n in range(3)]
QUICK = BatchOptions(poll_s=0.02, longest_poll_s=0.1, listed_within_s=0.1, believed_s=2)
FULL = ("TokenLimitExceeded", "token_limit_exceeded")
DEAD = ("invalid_api_key", "insufficient_quota", "billing_hard_limit_reached")


class Hooks(ParallelToolkit):
    def process_input(self, file):
        return file.read()

    def process_data(self, data):
        return request_openai_api(ChatModel("gpt-4o-mini", content=data))

    def process_output(self, data, output_file_without_ext):
        with open(output_file_without_ext + ".txt", "w") as out:
            out.write(data)


def by_hooks(root, sim):
    """Return how many were answered, failed and left, and the keys that were dropped."""
    source = root / "texts"
    source.mkdir()
    for n, text in enumerate(TEXTS):
        (source / f"{n}.txt").write_text(text)
    keys = [{"key": f"sim-{key.name}", "name": key.name, "api_base": sim.url} for key in sim.keys]
    with ExitStack() as stack:
        manager = APIKeyManager(keys)
        stack.callback(manager.close)
        told = Hooks(
            None,
            str(source),
            str(root / "made"),
            key_manager=manager,
            mode="batch",
            batch=QUICK,
            progress=False,
            fail_on_error=False,
        ).run()
    dropped = [key.name for key in told.keys if key.state == "dropped"]
    return told.done, told.failed, told.left, dropped


def by_folder(root, sim):
    fixture = FolderFixture(root, sim)
    fixture.put("a.jsonl", *[a_line(text, text) for text in TEXTS])
    told = fixture.run()
    return told.lines_answered, told.lines_failed, told.left, list(told.dropped_keys)


doors = pytest.mark.parametrize("door", [by_hooks, by_folder])


@pytest.fixture
def sim():
    with Simulator([SimKey("one"), SimKey("two")], batch_seconds=0.05) as sim:
        yield sim


def paid(sim):
    """How often each line was paid for."""
    return Counter(row.payload for row in sim.ledger.rows() if row.billed)


@doors
@pytest.mark.parametrize("code", [*FULL, *DEAD, "model_not_found", "internal_error"])
def test_a_batch_that_fails_goes_again_where_it_can_be_answered(tmp_path, sim, door, code):
    sim.batch_controls.follow(BatchCourse("failed", code=code, message="No."))
    *ends, dropped = door(tmp_path, sim)
    assert ends == [3, 0, 0]
    assert sorted(paid(sim).values()) == [1, 1, 1]
    first, *others = sim.batches.batches()
    assert (first.status, {batch.status for batch in others}) == ("failed", {"completed"})
    assert dropped == ([first.key] if code in DEAD else [])
    if code != "internal_error":
        assert first.key not in {batch.key for batch in others}
    assert sim.files.stored() == []


@doors
@pytest.mark.parametrize("kind", ["insufficient_quota", "429", "500", "no_choices"])
def test_lines_that_were_not_answered_go_again_alone(tmp_path, sim, door, kind):
    sim.script.replace([Fault(kind, path="#line", marker="text 1", times=1)])
    *ends, dropped = door(tmp_path, sim)
    assert ends == [3, 0, 0]
    assert sorted(paid(sim).values()) == [1, 1, 2 if kind == "no_choices" else 1]
    first, second = sim.batches.batches()
    assert (first.total, second.total) == (3, 1)
    assert dropped == ([first.key] if kind == "insufficient_quota" else [])


@doors
def test_what_is_lost_twice_is_not_bought_a_third_time(tmp_path, sim, door):
    sim.batch_controls.always_follow(BatchCourse(lost_share=1.0))
    *ends, _ = door(tmp_path, sim)
    assert ends == [0, 3, 0]
    assert sorted(paid(sim).values()) == [2, 2, 2]


def a_batch(status="failed", *issues, **more):
    facts = {"total": 3, "completed": 0, "failed": 0, "metadata": {}, "created_wall_s": 0.0}
    ids = {"endpoint": "", "input_file_id": "f", "output_file_id": None, "error_file_id": None}
    facts = {**ids, **facts, "ended_wall_s": 1.0, "errors": issues, **more}
    return RemoteBatch(id="b", status=status, **facts)


@pytest.mark.parametrize(
    ("code", "line", "rest", "blame"),
    [
        ("tokenLimitExceeded", None, "unsent", "busy"),
        ("InvalidApiKey", None, "unsent", "key_dead"),
        ("DeploymentNotFound", None, "unsent", "not_here"),
        ("model_not_found", 2, "unsent", "not_here"),
        ("mismatched_model", None, "rejected", None),
        ("invalid_json_line", 2, "busy", None),
        ("server_error", None, "busy", None),
        ("", None, "busy", None),
    ],
)
def test_how_a_failed_batch_ended_is_judged_by_its_code(code, line, rest, blame):
    issue = BatchIssue(code=code, message="invalid_api_key, they say", line=line)
    end = ended_batch(a_batch("failed", issue), 0, clean=str)
    assert end.rest.kind.value == rest
    assert (end.blame and end.blame.kind.value) == blame
    assert set(end.refused) == ({2} if code == "invalid_json_line" else set())


@pytest.mark.parametrize(
    ("status", "completed", "answers", "kind"),
    [
        ("completed", 3, 3, "unknown"),
        ("expired", 2, 2, "busy"),
        ("expired", 2, 1, "unknown"),
        ("cancelled", 0, 0, "busy"),
    ],
)
def test_a_line_that_no_result_speaks_of_is_in_doubt_where_it_was_counted(
    status, completed, answers, kind
):
    end = ended_batch(a_batch(status, completed=completed), answers, clean=str)
    assert end.rest.kind.value == kind


GOOD = {"choices": [{"message": {"content": "yes"}}]}
QUOTA = {"error": {"code": "insufficient_quota", "message": "none left"}}


@pytest.mark.parametrize(
    ("status", "body", "error", "kind"),
    [
        (200, GOOD, None, "ok"),
        (200, {}, None, "unknown"),
        (200, None, None, "unknown"),
        (200, {"error": {"code": "server_error"}}, None, "busy"),
        (200, {"error": {"code": "invalid_request_error"}}, None, "rejected"),
        (200, GOOD, {"code": "server_error"}, "unknown"),
        (200, QUOTA, None, "key_dead"),
        (429, {"error": {"code": "rate_limit_exceeded"}}, None, "busy"),
        (429, QUOTA, None, "key_dead"),
        (429, {}, QUOTA["error"], "key_dead"),
        (500, None, None, "busy"),
        (400, {"error": {"code": "invalid_value"}}, None, "rejected"),
        (404, {"error": {"code": "model_not_found"}}, None, "not_here"),
        (None, None, {"code": "batch_expired"}, "busy"),
        (None, None, {"code": "server_error"}, "unknown"),
    ],
)
@pytest.mark.parametrize("path", ["/chat/completions", "/unheard_of"])
def test_what_a_line_of_results_is(path, status, body, error, kind):
    response = None if status is None else {"status_code": status, "body": body}
    line = json.dumps({"custom_id": "a", "response": response, "error": error}).encode()
    outcome, answer = judge_line(read_result(line), path, wall_s=0.0, clean=str)
    assert outcome.kind.value == kind
    assert (answer is not None) == (outcome.kind is OutcomeKind.OK)


@pytest.mark.parametrize(
    ("choice", "kind"),
    [
        ({"message": {"content": "half"}, "finish_reason": "length"}, "unusable"),
        ({"message": {"content": ""}, "finish_reason": "stop"}, "unusable"),
        ({"message": {"content": "half"}, "error": {"code": 502}}, "unusable"),
        ({"message": {"content": ""}, "error": {"code": 502}}, "busy"),
        ({"message": {"content": [{"type": "text", "text": "yes"}]}}, "ok"),
    ],
)
def test_an_answer_in_a_line_is_judged_as_a_live_one(choice, kind):
    response = {"status_code": 200, "body": {"choices": [choice]}}
    line = json.dumps({"custom_id": "a", "response": response}).encode()
    outcome, answer = judge_line(read_result(line), "/chat/completions", wall_s=0.0, clean=str)
    assert (outcome.kind.value, answer is not None) == (kind, outcome.kind.is_answer)


def test_the_price_is_that_of_the_line_and_else_of_what_answered():
    prices = PriceBook({"mine": ModelPrice(input_usd=8, output_usd=8)})
    usage, body = Usage(prompt_tokens=1_000_000), b'{"model":"mine"}'
    assert line_cost_usd(prices, "mine", b'{"model":"gpt-4o"}', usage) == 4
    assert line_cost_usd(prices, "nobody's", body, usage) == 4
    assert line_cost_usd(prices, "nobody's", b"{}", usage) is None
