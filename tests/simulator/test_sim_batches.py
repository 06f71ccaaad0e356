"""Batches at the simulator: what the real client sees of them."""

import json
import signal
import subprocess
import sys
import time

import openai
import pytest
from batch_wire import (
    azure_client,
    body,
    client,
    create,
    ended,
    issues,
    line,
    lines,
    results,
    run,
    start,
    until,
    upload,
)
from sim_wire import call, post

from openai_parallel_toolkit.simulator import BatchCourse, BatchLimits, Fault, SimKey, Simulator
from openai_parallel_toolkit.simulator.command import fault_from, keys_from

KEYS = (
    SimKey("good"),
    SimKey("other", models=("gpt-4o",)),
    SimKey("azure", deployments=("mine",)),
    SimKey("narrow", enqueued_tokens=100),
)


@pytest.fixture
def sim():
    with Simulator(KEYS, seed=7, batch_seconds=0.02) as simulator:
        yield simulator


@pytest.fixture
def api(sim):
    with client(sim) as made:
        yield made


def test_every_line_is_answered_under_its_own_id(api):
    batch = run(api, lines(30), metadata={"run": "7"})
    assert batch.status == "completed"
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (30, 30, 0)
    assert (batch.metadata, batch.model, batch.error_file_id) == ({"run": "7"}, "gpt-4o-mini", None)
    answered = results(api, batch.output_file_id)
    assert set(answered) == {f"c{number}" for number in range(30)}
    for number in range(30):
        response = answered[f"c{number}"]["response"]
        assert response["status_code"] == 200
        assert response["body"]["choices"][0]["message"]["content"] in f"Question {number}. Why?"


def test_results_come_in_another_order(api):
    batch = run(api, lines(30))
    order = list(results(api, batch.output_file_id))
    assert order != [f"c{number}" for number in range(30)]


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/v1/chat/completions", body("Tell me. Why? Or how?", n=2, user="ä\ud800")),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "a", "dimensions": 3}),
        ("/v1/responses", {"model": "gpt-4o", "input": "Tell me. Why?"}),
    ],
)
def test_a_line_gets_byte_for_byte_what_a_live_call_gets(sim, api, path, asked):
    raw = json.dumps(asked, separators=(",", ":")).encode()
    live = post(sim, raw, path=path)
    text = b'{ "body" : %b ,"custom_id":"c","method":"POST","url":"%b"}\n' % (raw, path.encode())
    batch = run(api, text, path)
    whole = api.files.content(batch.output_file_id).content
    assert b'"body":' + live.body + b"}" in whole
    assert live.status == 200


def test_each_answered_line_is_a_row_of_the_bill(sim, api):
    raw = json.dumps(body()).encode()
    post(sim, raw)
    batch = run(api, line("c1"))
    live, _upload, _create, row = sim.ledger.rows()
    assert (row.batch, row.custom_id, row.path) == (batch.id, "c1", "/v1/chat/completions#line")
    assert (row.key, row.model, row.status, row.billed) == ("good", "gpt-4o-mini", 200, True)
    assert (row.payload, row.prompt_tokens, row.completion_tokens) == (
        live.payload,
        live.prompt_tokens,
        live.completion_tokens,
    )
    assert batch.usage.total_tokens == row.prompt_tokens + row.completion_tokens
    summary = sim.ledger.summary()
    assert (summary.total.billed, summary.lines.billed, summary.billed_again) == (2, 1, 1)
    assert results(api, batch.output_file_id)["c1"]["response"]["request_id"] == row.request_id


def test_lines_are_no_posts_and_shift_no_ordinals(sim, api):
    run(api, lines(3))
    post(sim, json.dumps(body()).encode())
    assert [row.ordinal for row in sim.ledger.rows()] == [1, 2, 0, 0, 0, 3]


def test_the_hook_sees_the_posts_of_files_and_batches():
    seen = []
    with Simulator(KEYS, batch_seconds=0.02, on_post=seen.append) as sim, client(sim) as api:
        batch = run(api, lines(1))
        with pytest.raises(openai.ConflictError):
            api.batches.cancel(batch.id)
    assert [row.path for row in seen] == [
        "/v1/files",
        "/v1/batches",
        f"/v1/batches/{batch.id}/cancel",
    ]


def test_a_line_that_is_refused_is_in_the_error_file_and_costs_nothing(sim, api):
    content = line("good") + line("bad", body(max_tokens=0)) + line("streamed", body(stream=True))
    batch = run(api, content)
    assert batch.status == "completed"
    assert (batch.request_counts.completed, batch.request_counts.failed) == (1, 2)
    assert set(results(api, batch.output_file_id)) == {"good"}
    refused = results(api, batch.error_file_id)
    assert set(refused) == {"bad", "streamed"}
    response = refused["bad"]["response"]
    assert (response["status_code"], response["body"]["error"]["code"]) == (400, "invalid_value")
    assert sim.ledger.billed() == 1


def test_a_batch_whose_lines_all_fail_has_an_error_file_only(api):
    batch = run(api, line("bad", body(max_tokens=0)))
    assert (batch.status, batch.output_file_id) == ("completed", None)
    assert set(results(api, batch.error_file_id)) == {"bad"}


def test_rules_meet_lines_by_what_they_ask(sim, api):
    sim.script.replace(
        [
            Fault("429", marker="poison"),
            Fault("500", marker="broken", billed=True),
            Fault("no_choices", marker="empty"),
            Fault("cut_body", path="#line"),
        ]
    )
    texts = {"a": "some poison", "b": "broken", "c": "empty", "d": "plain"}
    batch = run(api, b"".join(line(name, body(text)) for name, text in texts.items()))
    failed = results(api, batch.error_file_id)
    assert {name: found["response"]["status_code"] for name, found in failed.items()} == {
        "a": 429,
        "b": 500,
    }
    good = results(api, batch.output_file_id)
    assert "choices" not in good["c"]["response"]["body"]
    assert good["d"]["response"]["body"]["choices"]
    billed = {row.custom_id: (row.billed, row.fault) for row in sim.ledger.rows() if row.batch}
    assert billed == {
        "a": (False, "429"),
        "b": (True, "500"),
        "c": (True, "no_choices"),
        "d": (True, ""),
    }


def test_a_rule_may_meet_live_calls_only_or_lines_only(sim, api):
    raw = json.dumps(body()).encode()
    sim.script.replace([Fault("500", path="/chat/completions")])
    assert post(sim, raw).status == 500
    assert run(api, line("c")).request_counts.completed == 1
    sim.script.replace([Fault("500", path="#line")])
    assert post(sim, raw).status == 200
    assert run(api, line("c")).request_counts.failed == 1


def test_lines_of_a_key_that_is_spent_on_the_way_fail():
    keys = [SimKey("good", quota=2)]
    with Simulator(keys, batch_seconds=0.02) as sim, client(sim) as api:
        batch = run(api, lines(3))
        assert (batch.request_counts.completed, batch.request_counts.failed) == (2, 1)
        (left,) = results(api, batch.error_file_id).values()
        assert left["response"]["body"]["error"]["code"] == "insufficient_quota"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ("empty_file", None, None)),
        (b"\n \n", ("empty_file", None, None)),
        (line("a") + b"{\n", ("invalid_json_line", 2, None)),
        (b"[1]\n", ("invalid_json_line", 1, None)),
        (b"{[]: 1}\n", ("invalid_json_line", 1, None)),
        (b"{1: 1}\n", ("invalid_json_line", 1, None)),
        (b"\xff{}\n", ("invalid_json_line", 1, None)),
        (line("a")[:-1] + b" x\n", ("invalid_json_line", 1, None)),
        (line("a") + b"\n" + line("a"), ("duplicate_custom_id", 3, "custom_id")),
        (line(""), ("missing_required_parameter", 1, "custom_id")),
        (line("a", method="GET"), ("invalid_method", 1, "method")),
        (line("a", url="/v1/embeddings"), ("invalid_url", 1, "url")),
        (line("a", []), ("missing_required_parameter", 1, "body")),
        (line("a", {"messages": []}), ("missing_required_parameter", 1, "body.model")),
        (line("a") + line("b", body(model="gpt-4o")), ("mismatched_model", 2, "body.model")),
    ],
)
def test_a_batch_whose_file_is_not_in_order_fails_and_says_where(sim, api, content, expected):
    batch = run(api, content)
    assert batch.status == "failed"
    assert issues(batch) == [expected]
    assert (batch.output_file_id, batch.error_file_id) == (None, None)
    assert sim.ledger.billed() == 0
    assert sim.batches.enqueued().get("good", {}) == {}


def test_a_batch_of_a_model_that_the_key_does_not_have_fails(sim):
    with client(sim, "other") as other:
        assert issues(run(other, lines(1))) == [("model_not_found", 1, "body.model")]
        assert run(other, lines(1, model="gpt-4o")).status == "completed"


def test_only_the_first_hundred_mistakes_are_listed(api):
    assert len(run(api, b"{\n" * 300).errors.data) == 100


def test_too_many_lines_fail_the_batch():
    limits = BatchLimits(lines=3)
    with Simulator(KEYS, batch_seconds=0.02, batch_limits=limits) as sim, client(sim) as api:
        assert run(api, lines(3)).status == "completed"
        assert issues(run(api, lines(4))) == [("too_many_tasks", None, None)]


def test_the_usual_limits_are_those_of_the_service():
    limits = BatchLimits()
    assert (limits.lines, limits.file_bytes, limits.azure_files) == (50_000, 209_715_200, 500)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"endpoint": "/v1/nothing"}, "endpoint"),
        ({"endpoint": "/chat/completions"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"completion_window": None}, "completion_window"),
        ({"input_file_id": "file-none"}, "input_file_id"),
        ({"metadata": {"n": 1}}, "metadata"),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
        ({"metadata": {"n": "x" * 513}}, "metadata"),
        ({"output_expires_after": {"anchor": "created_at"}}, "output_expires_after"),
    ],
)
def test_a_batch_that_cannot_be_is_refused_at_once(sim, api, fields, param):
    file = upload(api, lines(1))
    asked = {
        "input_file_id": file.id,
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        **fields,
    }
    with pytest.raises(openai.BadRequestError) as caught:
        api.batches.create(**asked)
    assert caught.value.body["param"] == param
    assert sim.batches.batches() == []


def test_batches_are_listed_newest_first_and_belong_to_their_key(sim, api):
    file = upload(api, lines(1))
    made = [create(api, file.id).id for _ in range(5)]
    assert [batch.id for batch in api.batches.list(limit=2)] == made[::-1]
    assert [batch.id for batch in api.batches.list(after=made[2])] == made[1::-1]
    with client(sim, "other") as stranger:
        assert list(stranger.batches.list()) == []
        for look in (stranger.batches.retrieve, stranger.batches.cancel):
            with pytest.raises(openai.NotFoundError):
                look(made[0])


def test_tokens_of_batches_that_are_not_over_count_against_the_keys_limit(sim):
    sim.batch_controls.hold()
    with client(sim, "narrow") as narrow:
        first = start(narrow, line("a", body("x" * 200)))
        until(narrow.batches.retrieve, first.id, "in_progress")
        refused = run(narrow, line("a", body("x" * 200)))
        (issue,) = refused.errors.data
        assert issue.code == "token_limit_exceeded"
        assert issue.message.startswith(
            "Enqueued token limit reached for gpt-4o-mini in organization org-narrow. "
            "Limit: 100 enqueued tokens."
        )
        other_model = start(narrow, line("a", body("x" * 200, model="gpt-4o")))
        sim.batch_controls.release()
        assert ended(narrow, first).status == "completed"
        assert ended(narrow, other_model).status == "completed"
        assert run(narrow, line("a", body("x" * 200))).status == "completed"
    counts = sim.batches.enqueued()["narrow"]
    assert (counts["gpt-4o-mini"].now, counts["gpt-4o-mini"].peak) == (0, 112)
    assert (counts["gpt-4o"].now, counts["gpt-4o"].peak) == (0, 56)


def test_a_held_batch_stays_in_progress_until_it_is_released(sim, api):
    sim.batch_controls.hold()
    batch = until(api.batches.retrieve, start(api, lines(3)).id, "in_progress")
    time.sleep(0.05)
    held = api.batches.retrieve(batch.id)
    assert (held.status, held.request_counts.completed) == ("in_progress", 0)
    assert sim.batches.statuses() == {"in_progress": 1}
    sim.batch_controls.release()
    assert ended(api, batch).status == "completed"


def test_a_cancelled_batch_keeps_what_was_answered(sim, api):
    sim.batch_controls.follow(BatchCourse("completed", seconds=10.0))
    batch = start(api, lines(20))
    while not api.batches.retrieve(batch.id).request_counts.completed:
        time.sleep(0.005)
    assert api.batches.cancel(batch.id).status == "cancelling"
    assert api.batches.cancel(batch.id).status == "cancelling"
    over = ended(api, batch)
    assert over.status == "cancelled"
    assert over.cancelled_at >= over.cancelling_at
    answered, left = results(api, over.output_file_id), results(api, over.error_file_id)
    assert 0 < len(answered) < 20
    assert len(answered) + len(left) == 20
    assert {result["error"]["code"] for result in left.values()} == {"batch_cancelled"}
    assert len(answered) == sim.ledger.summary().lines.billed


@pytest.mark.parametrize("end", ["expired", "cancelled"])
def test_a_batch_can_end_early_with_a_share_of_its_lines(sim, api, end):
    sim.batch_controls.follow(BatchCourse(end, share=0.3))
    over = run(api, lines(20))
    assert (over.status, over.request_counts.completed) == (end, 6)
    assert len(results(api, over.output_file_id)) == 6
    left = results(api, over.error_file_id).values()
    assert [(one["response"], one["error"]["code"]) for one in left] == [
        (None, f"batch_{end}")
    ] * 14
    assert run(api, lines(2)).status == "completed"


def test_a_batch_expires_when_its_window_is_over():
    with Simulator(KEYS, batch_seconds=0.02, batch_window_s=0.2) as sim, client(sim) as api:
        sim.batch_controls.hold()
        over = run(api, lines(2))
        assert (over.status, over.output_file_id) == ("expired", None)
        assert len(results(api, over.error_file_id)) == 2


def test_a_batch_can_fail_as_a_whole(sim, api):
    failing = BatchCourse("failed", code="token_limit_exceeded", message="No room.")
    sim.batch_controls.always_follow(failing)
    over = run(api, lines(2))
    assert over.status == "failed"
    assert over.failed_at
    assert issues(over) == [("token_limit_exceeded", None, None)]


def test_results_can_be_lost_and_strangers_added(sim, api):
    sim.batch_controls.follow(BatchCourse(lost_share=0.5, strangers=2))
    over = run(api, lines(10))
    found = set(results(api, over.output_file_id))
    assert len(found & {f"c{number}" for number in range(10)}) == 5
    assert {"stranger-0", "stranger-1"} <= found
    assert sim.ledger.summary().lines.billed == 10


def test_outputs_expire_when_the_batch_said_so(api):
    batch = run(api, lines(1), output_expires_after={"anchor": "created_at", "seconds": 3600})
    output = api.files.retrieve(batch.output_file_id)
    assert output.expires_at == output.created_at + 3600
    assert (output.purpose, output.filename) == ("batch_output", f"{batch.id}_output.jsonl")


def test_a_batch_goes_on_when_its_input_is_deleted(sim, api):
    file = upload(api, lines(3))
    batch = create(api, file.id)
    api.files.delete(file.id)
    over = ended(api, batch)
    assert over.request_counts.completed == 3
    api.files.delete(over.output_file_id)
    assert sim.files.stored() == []


@pytest.mark.parametrize(
    ("kind", "created"),
    [("cut_body", 1), ("reset_before", 1), ("504", 1), ("500", 0), ("401", 0)],
)
def test_whether_a_create_that_went_wrong_took_effect_follows_from_the_fault(
    sim, api, kind, created
):
    file = upload(api, lines(1))
    sim.script.replace([Fault(kind, path="/batches", times=1)])
    with pytest.raises(openai.APIError):
        create(api, file.id, metadata={"mark": "x"})
    found = [batch.metadata for batch in api.batches.list()]
    assert found == [{"mark": "x"}] * created


def test_times_tell_the_batchs_way(api):
    over = run(api, lines(1))
    way = [over.created_at, over.in_progress_at, over.finalizing_at, over.completed_at]
    assert way == sorted(way)
    assert (over.failed_at, over.expired_at, over.cancelled_at) == (None, None, None)
    assert over.expires_at == over.created_at + 86_400


@pytest.mark.parametrize("url", ["/chat/completions", "/v1/chat/completions"])
def test_azure_batches_name_the_deployment_as_their_model(sim, url):
    with azure_client(sim) as azure:
        over = run(azure, lines(3, url, model="mine"), url)
        assert (over.status, over.endpoint) == ("completed", url)
        assert len(results(azure, over.output_file_id)) == 3
        unknown = run(azure, lines(1, url, model="gpt-4o-mini"), url)
        assert issues(unknown) == [("model_not_found", 1, "body.model")]
        assert [batch.id for batch in azure.batches.list()] == [unknown.id, over.id]


def test_azure_wants_a_version():
    with Simulator(KEYS) as sim:
        assert call(sim, "GET", "/openai/batches", headers={"api-key": "sim-azure"}).status == 404


def test_batches_are_steered_and_counted_over_http(sim, api):
    wishes = {
        "listed_after_s": 3,
        "seconds": 0.01,
        "next": [{"end": "expired", "share": 0.5}],
        "is_held": True,
    }
    told = call(sim, "POST", "/__batches", json.dumps(wishes)).json
    assert (told["seconds"], told["is_held"], told["batches"]) == (0.01, True, {})
    batch = start(api, lines(2))
    call(sim, "POST", "/__batches", b'{"is_held": false, "always": {"end": "failed"}}')
    assert ended(api, batch).status == "expired"
    assert run(api, lines(2)).status == "failed"
    seen = call(sim, "GET", "/__batches").json
    assert seen["batches"] == {"expired": 1, "failed": 1}
    assert seen["files"] == 4
    assert seen["enqueued_tokens"]["good"]["gpt-4o-mini"]["now"] == 0


@pytest.mark.parametrize(
    "wishes",
    [b"{", b"[]", b'{"speed": 1}', b'{"seconds": "x"}', b'{"next": 1}', b'{"next": [{"end": "?"}]}',
     b'{"always": {"share": 2}}', b'{"always": {"strangers": -1}}', b'{"always": {"share": "x"}}'],
)  # fmt: skip
def test_wishes_that_are_none_are_refused(sim, wishes):
    assert call(sim, "POST", "/__batches", wishes).status == 400


def test_settings_for_batches_are_read_from_short_texts():
    (key,) = keys_from("good:enqueued_tokens=500")
    assert key.enqueued_tokens == 500
    rule = fault_from("cut_body:method=GET:path=/content")
    assert (rule.method, rule.path) == ("GET", "/content")


@pytest.mark.parametrize("fields", [{"method": "get"}, {"path": 1}])
def test_a_rule_for_no_method_or_path_is_refused(fields):
    with pytest.raises((ValueError, TypeError)):
        Fault("500", **fields)


def test_the_command_serves_batches():
    with subprocess.Popen(
        [sys.executable, "-m", "openai_parallel_toolkit.simulator", "--batch-seconds", "0.05",
         "--keys", "good"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        running = Running(process.stdout.readline().strip())
        with client(running) as api:
            assert run(api, lines(2)).status == "completed"
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0


def test_a_stop_leaves_no_batch_behind():
    with Simulator(KEYS, batch_seconds=1000) as sim, client(sim) as api:
        start(api, lines(1))
    assert sim.batches.statuses() == {"validating": 1}


def test_a_large_batch_keeps_nobody_waiting(sim, api):
    batch = start(api, lines(10_000))
    served_meanwhile = 0
    while api.batches.retrieve(batch.id).status != "completed":
        assert post(sim, json.dumps(body()).encode()).status == 200
        served_meanwhile += 1
    print(f"{served_meanwhile} served meanwhile")
    assert served_meanwhile > 10
    assert api.batches.retrieve(batch.id).request_counts.completed == 10_000


class Running:
    def __init__(self, url):
        self.url = url
