"""Each kind of fault, as it looks on the wire, and whether it is billed."""

import json
import time
from email.utils import parsedate_to_datetime
from http.client import IncompleteRead

import pytest
from sim_wire import ask, chat_body, connect, exchange, post, raw_request, read_to_end

from openai_parallel_toolkit.simulator import Fault, SimKey, Simulator
from openai_parallel_toolkit.simulator.faults import DELIVERIES

KEYS = (SimKey("good"), SimKey("second"))


def simulator(*faults, **settings):
    return Simulator(KEYS, seed=7, faults=faults, **settings)


@pytest.mark.parametrize(
    ("kind", "status", "code", "billed"),
    [
        ("400", 400, "invalid_value", False),
        ("401", 401, "invalid_api_key", False),
        ("402", 402, "402", False),
        ("403", 403, "unsupported_country_region_territory", False),
        ("403_model", 403, "model_not_found", False),
        ("404_model", 404, "model_not_found", False),
        ("408", 408, None, False),
        ("429", 429, "rate_limit_exceeded", False),
        ("500", 500, None, False),
        ("503", 503, None, False),
        ("529", 529, None, False),
        ("insufficient_quota", 429, "insufficient_quota", False),
        ("account_deactivated", 401, "account_deactivated", False),
        ("content_filter_400", 400, "content_filter", False),
    ],
)
def test_an_error_is_played_in_openais_form_and_costs_nothing(kind, status, code, billed):
    with simulator(Fault(kind)) as sim:
        reply = ask(sim)
        (row,) = sim.ledger.rows()
    assert (reply.status, reply.code) == (status, code)
    assert (row.fault, row.status, row.billed) == (kind, status, billed)
    assert (row.prompt_tokens, row.completion_tokens) == (0, 0)


@pytest.mark.parametrize(("kind", "billed"), [("502", False), ("504", True), ("524", True)])
def test_a_gateway_answers_with_a_page_and_its_time_outs_are_billed(kind, billed):
    with simulator(Fault(kind)) as sim:
        reply = ask(sim)
        assert sim.ledger.billed() == int(billed)
    assert reply.status == int(kind)
    assert reply.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("value", [2, 0.5, -3, "NaN", "soon", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_retry_after_is_sent_as_the_rule_says(value):
    with simulator(Fault("429", retry_after=value)) as sim:
        assert ask(sim).headers["retry-after"] == str(value)


def test_retry_after_can_be_a_date_in_the_future():
    with simulator(Fault("429", retry_after="date+60")) as sim:
        ahead = parsedate_to_datetime(ask(sim).headers["retry-after"]).timestamp() - time.time()
    assert 50 < ahead < 61


def test_status_and_message_can_be_chosen():
    with simulator(Fault("500", status=507, message="no room", at=[1]), Fault("html_200")) as sim:
        reply = ask(sim)
        assert (reply.status, reply.json["error"]["message"]) == (507, "no room")
        assert ask(sim).body.startswith(b"<html>")


def test_a_page_with_status_200_is_billed():
    with simulator(Fault("html_200")) as sim:
        reply = ask(sim)
        assert reply.status == 200
        assert b"<html>" in reply.body
        assert sim.ledger.billed() == 1


def test_broken_json_is_whole_http():
    with simulator(Fault("broken_json")) as sim:
        reply = ask(sim)
    assert reply.status == 200
    with pytest.raises(json.JSONDecodeError):
        _ = reply.json


def test_choices_can_be_missing_or_empty():
    with simulator(Fault("no_choices", at=[1]), Fault("empty_content")) as sim:
        assert "choices" not in ask(sim).json
        assert ask(sim).text == ""
        assert sim.ledger.billed() == 2


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_a_finish_reason_can_be_forced(reason):
    with simulator(Fault(f"finish_{reason}")) as sim:
        assert ask(sim).json["choices"][0]["finish_reason"] == reason


def test_a_cut_body_promises_more_than_comes():
    with simulator(Fault("cut_body")) as sim:
        with pytest.raises(IncompleteRead):
            ask(sim)
        (row,) = sim.ledger.rows()
    assert row.billed
    assert not row.client_closed


def test_a_cut_chunked_body_has_no_last_chunk():
    with simulator(Fault("cut_chunked")) as sim:
        got, was_reset = exchange(sim)
    assert b"transfer-encoding: chunked" in got
    assert not got.endswith(b"0\r\n\r\n")
    assert not was_reset


@pytest.mark.parametrize("kind", ["reset_before", "close_before"])
def test_a_connection_can_end_without_a_reply(kind):
    with simulator(Fault(kind)) as sim:
        assert exchange(sim) == (b"", kind == "reset_before")
        (row,) = sim.ledger.rows()
    assert (row.billed, row.status, row.bytes_sent) == (True, 0, 0)


def test_a_connection_can_be_reset_in_the_middle_of_the_body():
    with simulator(Fault("reset_during", keep=0.25)) as sim:
        got, was_reset = exchange(sim)
        (row,) = sim.ledger.rows()
    assert was_reset
    assert b"\r\n\r\n{" in got
    assert len(got) == row.bytes_sent


def test_a_body_can_drip():
    with simulator(Fault("drip", seconds=0.0001)) as sim:
        assert ask(sim).status == 200


def test_a_client_that_leaves_a_dripping_body_is_noted():
    with simulator(Fault("drip", seconds=30)) as sim:
        with connect(sim) as sock:
            sock.sendall(raw_request(chat_body()))
            assert sock.recv(1000)
        row = wait_for_end(sim)
    assert row.client_closed
    assert row.billed


def test_a_client_that_gives_up_waiting_is_noted():
    with simulator(Fault("never")) as sim:
        with connect(sim, timeout=0.05) as sock:
            sock.sendall(raw_request(chat_body()))
            with pytest.raises(TimeoutError):
                sock.recv(1)
        row = wait_for_end(sim)
    assert (row.client_closed, row.billed, row.status) == (True, True, 0)


def test_an_idle_connection_can_be_closed_after_a_good_reply():
    with simulator(Fault("close_idle")) as sim:
        got, was_reset = exchange(sim)
    assert got.startswith(b"HTTP/1.1 200")
    assert b"connection: close" not in got.lower()
    assert got.endswith(b"}")
    assert not was_reset


def test_a_connection_that_was_to_be_closed_as_idle_stays_when_it_is_used():
    rule = Fault("close_idle", at=[1], seconds=0.05)
    with simulator(rule, Fault("slow", seconds=0.1)) as sim, connect(sim) as sock:
        sock.sendall(raw_request(chat_body()) * 2)  # the second is there before it can be idle
        told = b""
        while told.count(b"HTTP/1.1 200") < 2:
            more = sock.recv(65536)
            assert more, told
            told += more


@pytest.mark.parametrize("kind", ["cut_body", "close_before", "close_idle", "reset_during"])
def test_nothing_is_bought_over_a_connection_that_was_closed(kind):
    with simulator(Fault(kind, times=1)) as sim, connect(sim) as sock:
        sock.sendall(raw_request(chat_body()) * 2)
        read_to_end(sock)
        assert sim.ledger.billed() == 1


def test_a_reply_can_be_slow():
    with simulator(Fault("slow", seconds=0.1)) as sim:
        start = time.monotonic()
        assert ask(sim).status == 200
    assert time.monotonic() - start >= 0.1


@pytest.mark.parametrize("kind", ["cut_body", "reset_before", "500"])
@pytest.mark.parametrize("billed", [True, False])
def test_a_rule_may_say_whether_it_is_billed(kind, billed):
    with simulator(Fault(kind, billed=billed)) as sim:
        exchange_quietly(sim)
        assert sim.ledger.billed() == int(billed)


def test_a_rule_can_look_at_ordinal_key_and_marker():
    rules = (Fault("500", at={2}), Fault("503", key="second"), Fault("529", marker="poison"))
    with simulator(*rules) as sim:
        statuses = [ask(sim).status for _ in range(3)]
        assert statuses == [200, 500, 200]
        assert ask(sim, key="second").status == 503
        assert ask(sim, "some poison").status == 529


def test_a_rule_can_be_played_a_number_of_times_in_all_or_for_each_body():
    with simulator(Fault("500", times=1)) as sim:
        assert [ask(sim, text).status for text in "aabb"] == [500, 200, 200, 200]
    with simulator(Fault("500", times=1, per_payload=True)) as sim:
        assert [ask(sim, text).status for text in "aabb"] == [500, 200, 500, 200]


def test_chance_depends_on_the_body_and_its_count_not_on_the_order():
    bodies = [chat_body(f"body {number}") for number in range(40)] * 2
    outcomes = []
    for ordered in (bodies, bodies[::-1]):
        with simulator(Fault("500", chance=0.3)) as sim:
            for body in ordered:
                post(sim, body)
            outcomes.append(
                {payload: [row.status for row in rows]
                 for payload, rows in sim.ledger.by_payload().items()}
            )  # fmt: skip
    assert outcomes[0] == outcomes[1]
    played = sum(status == 500 for statuses in outcomes[0].values() for status in statuses)
    assert 10 < played < 40


def test_a_limited_request_meets_no_fault_and_is_not_billed():
    key = SimKey("good", rpm=1)
    with Simulator([key], faults=[Fault("500", at=[2])], clock=lambda: 0.0) as sim:
        assert [ask(sim).status for _ in range(2)] == [200, 429]
        assert sim.ledger.rows()[1].fault == ""
        assert sim.ledger.billed() == 1


@pytest.mark.parametrize(
    "fields", [{"kind": "nonsense"}, {"kind": "500", "chance": 2}, {"kind": "drip", "seconds": -1}]
)
def test_a_rule_that_cannot_be_is_refused(fields):
    with pytest.raises(ValueError):
        Fault(**fields)


@pytest.mark.parametrize("kind", sorted(DELIVERIES))
def test_every_delivery_differs_from_a_whole_reply_on_a_connection_that_stays(kind):
    with simulator(Fault(kind)) as sim, connect(sim, timeout=0.2) as sock:
        got, is_open = b"", True
        try:
            sock.sendall(raw_request(chat_body()))
            while data := sock.recv(65536):
                got += data
            is_open = False
        except TimeoutError:
            pass
        except ConnectionResetError:
            is_open = False
    head, _, body = got.partition(b"\r\n\r\n")
    is_whole = b"content-length: %d\r" % len(body) in head
    assert not (is_whole and is_open)


def exchange_quietly(sim):
    with connect(sim) as sock:
        sock.sendall(raw_request(chat_body()).replace(b"Host:", b"Connection: close\r\nHost:"))
        read_to_end(sock)


def wait_for_end(sim):
    """Return the one row as soon as the server has seen that its client is gone."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        rows = sim.ledger.rows()
        if rows and rows[0].client_closed:
            break
        ask(sim, "a request that meets no fault takes the loop round", key="nobody")
    return sim.ledger.rows()[0]
