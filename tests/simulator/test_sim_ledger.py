"""The bill, and the simulator's own paths."""

import hashlib
import json
import time
from contextlib import ExitStack

import pytest
from sim_wire import ask, call, chat_body, connect, post, raw_request

from openai_parallel_toolkit.simulator import Fault, Latency, SimKey, Simulator

KEYS = (SimKey("good"), SimKey("second", value="sk-very-secret-value"))


def test_a_row_tells_what_was_bought():
    with Simulator(KEYS, seed=3, clock=iter(range(100)).__next__) as sim:
        reply = ask(sim)
        (row,) = sim.ledger.rows()
    usage = reply.json["usage"]
    assert (row.ordinal, row.key, row.path) == (1, "good", "/v1/chat/completions")
    assert row.payload == hashlib.sha256(chat_body()).hexdigest()
    assert (row.model, row.fault, row.status, row.billed) == ("gpt-4o-mini", "", 200, True)
    assert row.prompt_tokens == usage["prompt_tokens"]
    assert row.completion_tokens == usage["completion_tokens"]
    assert row.request_id == reply.headers["x-request-id"]
    assert row.time_s > 0
    assert row.bytes_sent > len(reply.body)
    assert not row.client_closed


def test_refused_requests_have_rows_that_cost_nothing():
    with Simulator(KEYS) as sim:
        post(sim, b"{", "nobody")
        post(sim, b"{}")
        post(sim, b"{}", path="/v1/nothing")
        rows = sim.ledger.rows()
    assert [(row.key, row.status, row.billed) for row in rows] == [
        ("", 401, False),
        ("good", 400, False),
        ("good", 404, False),
    ]


def test_sums_are_by_key_body_status_and_fault():
    with Simulator(KEYS, faults=[Fault("500", at=[2])]) as sim:
        for text in ("a", "a", "a", "b"):
            ask(sim, text)
        summary = sim.ledger.summary()
        payloads = sim.ledger.by_payload()
        assert (sim.ledger.hits("good"), sim.ledger.billed("good"), sim.ledger.hits()) == (4, 3, 4)
        assert sim.ledger.hits("second") == 0
    assert (summary.total.requests, summary.total.billed, summary.billed_again) == (4, 3, 1)
    assert summary.keys["good"].completion_tokens == 3
    assert (summary.statuses, summary.faults) == ({200: 3, 500: 1}, {"500": 1})
    assert sorted(len(rows) for rows in payloads.values()) == [1, 3]


def test_no_row_or_file_holds_a_key_value(tmp_path):
    path = tmp_path / "ledger.jsonl"
    with Simulator(KEYS, ledger_path=str(path)) as sim:
        headers = {"Authorization": "Bearer sk-very-secret-value"}
        assert call(sim, "POST", "/v1/chat/completions", chat_body(), headers).status == 200
        assert sim.ledger.rows()[0].key == "second"
        assert b"secret" not in call(sim, "GET", "/__ledger").body
    assert b"secret" not in path.read_bytes()


def test_the_file_has_a_line_for_each_row_while_it_runs(tmp_path):
    path = tmp_path / "ledger.jsonl"
    with Simulator(KEYS, ledger_path=str(path), faults=[Fault("never", at=[2])]) as sim:
        ask(sim, "a")
        with connect(sim) as sock:
            sock.sendall(raw_request(chat_body("b")))
            until(lambda: path.read_bytes().count(b"\n") >= 2)
        ask(sim, "c")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["ordinal"] for line in lines] == [1, 2, 3]
    assert lines[1]["fault"] == "never"
    assert lines[0]["billed"] is True


def test_the_hook_sees_a_row_before_the_client_sees_a_byte():
    seen = []
    with Simulator(KEYS, on_post=seen.append, faults=[Fault("reset_before")]) as sim:
        with pytest.raises(ConnectionResetError):
            ask(sim)
        assert [row.ordinal for row in seen] == [1]


def test_the_most_requests_in_flight_are_counted():
    with Simulator(KEYS, faults=[Fault("never", at=range(1, 5))]) as sim:
        with ExitStack() as stack:
            for _ in range(4):
                stack.enter_context(connect(sim)).sendall(raw_request(chat_body()))
            until(lambda: sim.ledger.hits() == 4)
            assert sim.ledger.in_flight_peak == 4
        until(lambda: all(row.client_closed for row in sim.ledger.rows()))
        ask(sim)
        assert sim.ledger.summary().in_flight_peak == 4


def test_the_ledger_is_read_over_http():
    with Simulator(KEYS) as sim:
        ask(sim)
        (row,) = call(sim, "GET", "/__ledger").json
        assert (row["key"], row["billed"], row["client_closed"]) == ("good", True, False)
        summary = call(sim, "GET", "/__ledger?summary=1").json
        assert summary["keys"]["good"]["billed"] == 1
        assert sim.ledger.hits() == 1


def test_rules_are_read_replaced_and_appended_at_run_time():
    with Simulator(KEYS, faults=[Fault("500")]) as sim:
        assert call(sim, "GET", "/__script").json == [{"kind": "500"}]
        call(sim, "POST", "/__script", json.dumps([{"kind": "503", "at": [1]}]))
        assert [ask(sim).status for _ in range(2)] == [503, 200]
        call(sim, "POST", "/__script?append=1", json.dumps([{"kind": "529"}]))
        assert ask(sim).status == 529
        assert [rule.kind for rule in sim.script.rules()] == ["503", "529"]
        sim.script.replace([])
        assert ask(sim).status == 200


@pytest.mark.parametrize(
    "script",
    [b"{", b"{}", b"[1]", b"5", b'[{"kind": "?"}]', b'[{"kind": "500", "when": 1}]',
     b'[{"kind": "500", "at": 1}]', b'[{"kind": "500", "chance": "x"}]'],
)  # fmt: skip
def test_a_script_that_is_none_is_refused(script):
    with Simulator(KEYS) as sim:
        assert call(sim, "POST", "/__script", script).status == 400
        assert ask(sim).status == 200


def test_reset_begins_again_under_the_same_rules():
    keys = [SimKey("good", quota=1, rpm=1)]
    with Simulator(keys, faults=[Fault("500", at=[2], times=1)], clock=lambda: 0.0) as sim:
        assert [ask(sim).status for _ in range(2)] == [200, 429]
        call(sim, "POST", "/__reset")
        assert sim.ledger.rows() == []
        assert ask(sim).status == 200
        assert sim.ledger.rows()[0].ordinal == 1


def test_the_own_paths_have_no_other_methods():
    with Simulator(KEYS) as sim:
        assert call(sim, "GET", "/__reset").status == 404
        assert sim.ledger.rows() == []


def test_latency_is_seeded_and_spread_around_its_median():
    latency = Latency(0.2, 0.5)
    draws = [latency.draw_s(7, ordinal, b"x") for ordinal in range(2001)]
    assert draws == [latency.draw_s(7, ordinal, b"x") for ordinal in range(2001)]
    assert 0.19 < sorted(draws)[1000] < 0.21
    assert min(draws) > 0
    assert Latency(0.3).draw_s(7, 1, b"x") == 0.3


def until(is_so):
    """Wait for what the server's thread does."""
    limit_s = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < limit_s, "it did not happen"
        time.sleep(0.01)
