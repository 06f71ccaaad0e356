"""What becomes of a call, seen through whole runs; the provider's ledger is the judge."""

import itertools
import socket
import threading
import time

import pytest
from wire_fixture import MODEL, Ask, check_books, payload_of, question, until

from openai_parallel_toolkit import (
    APIKeyManager,
    Gpt35Turbo,
    IncompleteAnswer,
    NoUsableKey,
    RequestFailed,
    arequest_openai_api,
    request_openai_api,
    request_reply,
)
from openai_parallel_toolkit.simulator import Fault, SimKey

FILES = 3
#: Replies that were lost or are of no use; the provider bills for each.
LOST = [
    "cut_body",
    "cut_chunked",
    "reset_before",
    "reset_during",
    "close_before",
    "broken_json",
    "no_choices",
    "504",
    "524",
]
SLOW = ["drip", "never"]


@pytest.mark.parametrize("kind", LOST + SLOW)
def test_a_lost_answer_is_bought_at_most_once_more_and_then_told_as_unknown(fixture, kind):
    sim = fixture.simulate(faults=[Fault(kind)])
    patience = {"request_timeout_s": 1.0} if kind in SLOW else {}
    summary = fixture.inputs(FILES).configure(sim).run(**patience)
    until(lambda: sim.ledger.hits() >= 2 * FILES)  # its thread may be slower than the patience
    assert (summary.done, summary.failed) == (0, FILES)
    assert {line["kind"] for line in fixture.failures(summary)} == {"OutcomeUnknown"}
    assert summary.calls.unknown == 2 * FILES
    assert all(len(rows) == 2 for rows in sim.ledger.by_payload().values())
    check_books(fixture, sim, summary, unusable={kind})


@pytest.mark.parametrize("kind", [*LOST, "never"])
def test_an_answer_that_was_lost_once_is_there_after_two_sends(fixture, kind):
    sim = fixture.simulate(faults=[Fault(kind, times=1, per_payload=True)])
    patience = {"request_timeout_s": 3.0} if kind == "never" else {}
    summary = fixture.inputs(FILES).configure(sim).run(**patience)
    assert (summary.done, summary.calls.unknown) == (FILES, FILES)
    assert all(len(rows) == 2 for rows in sim.ledger.by_payload().values())
    check_books(fixture, sim, summary, unusable={kind})


@pytest.mark.parametrize("most", [0, 2])
def test_max_unknown_bounds_how_often_a_lost_answer_is_sent_again(fixture, most):
    sim = fixture.simulate(faults=[Fault("cut_body")])
    summary = fixture.inputs(FILES).configure(sim).run(max_unknown=most)
    assert sim.ledger.hits() == (most + 1) * FILES
    assert summary.calls.unknown == (most + 1) * FILES


def test_every_run_may_risk_its_own_doubt(fixture):
    sim = fixture.simulate(faults=[Fault("cut_body")])
    fixture.inputs(1).configure(sim).run()
    summary = fixture.run()
    assert (summary.calls.sent, sim.ledger.hits()) == (2, 4)


@pytest.mark.parametrize(
    "dead",
    [
        SimKey("dead", quota="none"),
        SimKey("dead", valid=False),
        SimKey("dead", unpaid=True),
        SimKey("dead", deactivated=True),
    ],
    ids=["insufficient_quota", "401", "402", "account_deactivated"],
)
def test_a_dead_key_is_asked_once_and_the_others_do_the_work(fixture, dead):
    sim = fixture.simulate(dead, "good", "better")
    summary = fixture.inputs(9).configure(sim).run(num_threads=1)
    assert (summary.done, sim.ledger.hits("dead"), sim.ledger.billed()) == (9, 1, 9)
    assert {key.name: key.state for key in summary.keys}["dead"] == "dropped"
    check_books(fixture, sim, summary)


@pytest.mark.parametrize("kind", ["403", "401", "402", "insufficient_quota"])
def test_a_key_that_dies_in_the_middle_is_never_asked_again(fixture, kind):
    sim = fixture.simulate("dies", "good", faults=[Fault(kind, key="dies", at=range(5, 1000))])
    summary = fixture.inputs(12).configure(sim).run(num_threads=1)
    assert summary.done == 12
    assert [row.fault for row in sim.ledger.rows() if row.key == "dies"][-1] == kind
    assert sum(row.fault == kind for row in sim.ledger.rows()) == 1
    check_books(fixture, sim, summary)


class AskTwoModels(Ask):
    def process_data(self, data):
        return [
            request_openai_api(Gpt35Turbo(content=data, model=model)) for model in (MODEL, "gpt-4")
        ]


@pytest.mark.parametrize("kind", ["404_model", "403_model"])
def test_a_key_without_the_model_is_not_asked_for_it_again_but_for_others_it_is(fixture, kind):
    only_there = Fault(kind, key="half", marker=f'"{MODEL}"')
    sim = fixture.simulate("half", "whole", faults=[only_there])
    summary = fixture.inputs(6).configure(sim).run(AskTwoModels, num_threads=1)
    assert summary.done == 6
    asked = [row.model for row in sim.ledger.rows() if row.key == "half"]
    assert asked.count(MODEL) == 1
    assert asked.count("gpt-4") >= 2


def test_a_model_that_no_key_has_fails_its_file_and_nothing_else(fixture):
    class AskForNothing(Ask):
        def process_data(self, data):
            model = "gpt-none" if "file 1:" in data else MODEL
            return request_openai_api(Gpt35Turbo(content=data, model=model))

    sim = fixture.simulate(SimKey("a", models=[MODEL]), SimKey("b", models=[MODEL]))
    summary = fixture.inputs(4).configure(sim).run(AskForNothing)
    assert (summary.done, summary.failed, summary.stopped) == (3, 1, "")
    (line,) = fixture.failures(summary)
    assert line["kind"] == "NoUsableKey"
    assert sum(row.model == "gpt-none" for row in sim.ledger.rows()) == 2


@pytest.mark.parametrize("kind", ["400", "content_filter_400"])
def test_a_request_that_is_refused_is_sent_once(fixture, kind):
    sim = fixture.simulate(faults=[Fault(kind, marker="file 1:")])
    summary = fixture.inputs(FILES).configure(sim).run()
    assert (summary.done, summary.failed) == (FILES - 1, 1)
    (line,) = fixture.failures(summary)
    assert (line["file"], line["kind"]) == ("f001.txt", "RequestRejected")
    assert sim.ledger.hits() == FILES
    check_books(fixture, sim, summary)


def test_a_prompt_that_is_too_long_is_sent_once(fixture):
    sim = fixture.simulate(context_tokens=4_000)
    fixture.inputs(1).configure(sim)
    (fixture.input / "long.txt").write_text("many words " * 5_000)
    summary = fixture.run()
    (line,) = fixture.failures(summary)
    assert (line["file"], line["kind"]) == ("long.txt", "RequestRejected")
    assert (summary.done, sim.ledger.hits()) == (1, 2)


@pytest.mark.parametrize("kind", ["500", "502", "503", "529", "408"])
def test_an_overload_is_retried_so_often_and_then_told_with_its_attempts(fixture, kind):
    sim = fixture.simulate(faults=[Fault(kind, retry_after=0.01)])
    summary = fixture.inputs(FILES).configure(sim).run(max_retries=2)
    assert all(len(rows) == 3 for rows in sim.ledger.by_payload().values())
    lines = fixture.failures(summary)
    assert {line["kind"] for line in lines} == {"RequestFailed"}
    assert all("3 attempts" in line["message"] for line in lines)
    assert (summary.calls.unknown, sim.ledger.billed()) == (0, 0)
    check_books(fixture, sim, summary)


def test_an_overload_that_passes_is_survived(fixture):
    sim = fixture.simulate(faults=[Fault("503", retry_after=0.01, times=2, per_payload=True)])
    summary = fixture.inputs(FILES).configure(sim).run()
    assert (summary.done, summary.calls.sent) == (FILES, 3 * FILES)
    check_books(fixture, sim, summary)


def test_a_pause_that_is_longer_than_the_call_has_left_is_not_sat_out(fixture):
    sim = fixture.simulate(faults=[Fault("503", retry_after=500)])
    summary = fixture.inputs(1).configure(sim).run(deadline_s=30)
    assert (summary.failed, sim.ledger.hits()) == (1, 1)
    assert summary.seconds < 25


@pytest.mark.parametrize("retry_after", ["1", "1.0", "date+2"])
def test_no_request_goes_out_while_the_key_cools_down(fixture, retry_after):
    limits = Fault("429", at=[1], retry_after=retry_after)
    sim = fixture.simulate(faults=[limits])
    summary = fixture.inputs(6).configure(sim).run(num_threads=1)
    first, *rest = [row.time_s for row in sim.ledger.rows()]
    assert summary.done == len(rest) == 6
    assert rest[0] - first >= 0.98
    check_books(fixture, sim, summary)


def test_keys_of_one_group_cool_down_together_and_others_go_on(fixture):
    keys = [SimKey("a1", group="a"), SimKey("a2", group="a"), SimKey("b")]
    sim = fixture.simulate(*keys, latency=0.01, faults=[Fault("429", at=[1], retry_after=500)])
    listed = [{"key": k.secret, "name": k.name, "group": k.group or k.name} for k in keys]
    summary = fixture.inputs(10).configure_at(sim.url, listed).run(num_threads=1)
    assert summary.done == 10
    assert [row.key for row in sim.ledger.rows()] == ["a1", *["b"] * 10]
    assert {key.name: key.state for key in summary.keys} == {
        "a1": "cooling",
        "a2": "cooling",
        "b": "alive",
    }


@pytest.mark.parametrize("retry_after", ["999999999", "1e9"])
def test_an_absurd_pause_is_honoured_for_ten_minutes_at_most(fixture, retry_after):
    limits = Fault("429", key="cools", retry_after=retry_after)
    sim = fixture.simulate("cools", "good", faults=[limits])
    manager = APIKeyManager(config_path=fixture.inputs(5).configure(sim).config)
    summary = fixture.run(key_manager=manager, num_threads=1)
    assert (summary.done, sim.ledger.hits("cools")) == (5, 1)
    cooling = next(key for key in manager.status() if key.name == "cools")
    now_s = manager._clock.now_s()
    assert 500 < cooling.cooling_until_s - now_s <= 660


@pytest.mark.parametrize("retry_after", ["-5", "0", "NaN", "soon", "inf", ""])
def test_a_pause_that_makes_no_sense_is_replaced_by_ones_own(fixture, retry_after):
    limits = Fault("429", at=[1, 2], retry_after=retry_after)
    sim = fixture.simulate(faults=[limits])
    summary = fixture.inputs(3).configure(sim).run(num_threads=1)
    assert (summary.done, sim.ledger.hits()) == (3, 5)
    assert summary.seconds < 40


def test_a_wall_clock_that_jumps_by_a_day_back_and_forth_changes_nothing(fixture, monkeypatch):
    real, jumps_s = time.time, itertools.cycle([0, 86_400, -86_400])
    monkeypatch.setattr(time, "time", lambda: real() + next(jumps_s))
    sim = fixture.simulate(faults=[Fault("429", retry_after="0.2", times=3), Fault("500", times=2)])
    summary = fixture.inputs(8).configure(sim).run(num_threads=2)
    assert (summary.done, summary.failed, sim.ledger.billed()) == (8, 0, 8)
    assert 0 < summary.seconds < 60
    assert fixture.run().calls.sent == 0


def test_a_storm_of_limits_is_no_retry_and_loses_nothing(fixture):
    storm = Fault("429", times=3, per_payload=True, retry_after=0.05)
    sim = fixture.simulate("a", "b", "c", faults=[storm])
    summary = fixture.inputs(20).configure(sim).run(max_retries=0)
    assert (summary.done, sim.ledger.billed()) == (20, 20)
    check_books(fixture, sim, summary)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/v1", "http://nowhere.invalid/v1"], ids=["refused", "dns"]
)
def test_a_server_that_cannot_be_reached_is_said_once_and_given_up_at_the_deadline(
    fixture, caplog, url
):
    sim = fixture.simulate()
    fixture.inputs(2).configure_at(url, [{"key": "sim-good", "name": "good"}])
    summary = fixture.run(deadline_s=3)
    assert {line["kind"] for line in fixture.failures(summary)} == {"RequestFailed"}
    assert (summary.failed, sim.ledger.hits()) == (2, 0)
    assert (summary.calls.sent, summary.calls.unknown, summary.calls.max_cost_usd) == (0, 0, 0)
    said = [r.getMessage() for r in caplog.records if "cannot be reached" in r.getMessage()]
    assert len(said) == 1
    assert url in said[0]
    assert "proxy" in said[0]
    assert summary.seconds < 25


def test_a_server_that_comes_back_in_time_is_no_failure(fixture):
    with socket.socket() as reserved:  # nobody else gets the port, and nobody listens
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        listed = [{"key": "sim-good", "name": "good"}]
        fixture.inputs(2).configure_at(f"http://127.0.0.1:{port}/v1", listed)
        later = threading.Timer(0.5, lambda: fixture.simulate(port=port))
        later.start()
        try:
            summary = fixture.run(deadline_s=40)
        finally:
            later.join()
    assert summary.done == 2


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("finish_length", "length"),
        ("finish_content_filter", "content_filter"),
        ("empty_content", "empty"),
    ],
)
def test_an_answer_that_was_cut_short_is_never_taken_for_a_whole_one(fixture, kind, reason):
    sim = fixture.simulate(faults=[Fault(kind)])
    summary = fixture.inputs(2).configure(sim).run()
    assert {line["kind"] for line in fixture.failures(summary)} == {"IncompleteAnswer"}
    assert all(reason in line["message"] for line in fixture.failures(summary))
    check_books(fixture, sim, summary)
    assert (summary.calls.answered, sim.ledger.hits()) == (2, 2)


def test_what_came_of_a_cut_answer_is_to_be_had_in_three_ways_for_one_payment(fixture):
    sim = fixture.simulate(faults=[Fault("finish_length")])
    fixture.configure(sim)
    keys = APIKeyManager(config_path=fixture.config)
    with pytest.raises(IncompleteAnswer) as caught:
        request_openai_api(question("hello"), keys)
    text = request_openai_api(question("hello"), keys, allow_incomplete=True)
    reply = request_reply(question("hello"), keys)
    assert caught.value.text.strip() == text == reply.text.strip() != ""
    assert caught.value.finish_reason == reply.finish_reason == "length"
    assert reply.usage.completion_tokens > 0
    assert reply.cost_usd is not None


def test_a_cut_answer_is_replayed_like_any_other(fixture):
    sim = fixture.simulate(faults=[Fault("finish_length")])
    fixture.inputs(2).configure(sim).run()

    class Lenient(Ask):
        def process_data(self, data):
            return request_openai_api(question(data), allow_incomplete=True)

    summary = fixture.run(Lenient)
    assert (summary.done, summary.calls.sent, summary.calls.replayed) == (2, 0, 2)
    assert sim.ledger.billed() == 2


def test_a_failure_tells_what_was_tried_as_facts(fixture):
    sim = fixture.simulate(faults=[Fault("500", retry_after=0.01)])
    keys = APIKeyManager(config_path=fixture.configure(sim).config)
    with pytest.raises(RequestFailed) as caught:
        request_openai_api(question("hello"), keys, max_retries=1)
    assert (caught.value.attempts, caught.value.status, caught.value.maybe_billed) == (2, 500, 0)
    assert caught.value.request_id.startswith("req_")


def test_a_bill_is_explained_with_every_fault_at_once(fixture):
    faults = [
        Fault("cut_body", chance=0.1, per_payload=True, times=1),
        Fault("429", chance=0.1, retry_after=0.05, per_payload=True, times=1),
        Fault("500", chance=0.1, retry_after=0.01, per_payload=True, times=1),
        Fault("html_200", chance=0.1, per_payload=True, times=1),
    ]
    keys = ["a", "b", SimKey("dies", quota=5), SimKey("empty", quota="none")]
    sim = fixture.simulate(*keys, faults=faults)
    summary = fixture.inputs(60).configure(sim).run(max_unknown=2)
    assert summary.done == 60
    assert summary.calls.unknown > 0
    check_books(fixture, sim, summary, unusable={"cut_body", "html_200"})
    assert all(
        payload_of(path.read_text()) in sim.ledger.by_payload() for path in fixture.input.iterdir()
    )


def test_when_no_key_is_left_the_run_says_so_and_pays_for_nothing(fixture):
    sim = fixture.simulate(SimKey("dead", valid=False), SimKey("empty", quota="none"))
    with pytest.raises(NoUsableKey) as caught:
        fixture.inputs(5).configure(sim).run(num_threads=1)
    assert (sim.ledger.hits(), sim.ledger.billed()) == (2, 0)
    assert caught.value.summary.failed == 0
    assert set(caught.value.reasons) == {"dead", "empty"}


@pytest.mark.parametrize("is_async", [False, True], ids=["blocking", "async"])
def test_what_is_sent_is_in_the_journal_before_and_what_came_before_the_hook_sees_it(
    fixture, is_async
):
    seen, unclaimed = [], []

    def look(row):
        with fixture.journal() as journal:
            if journal.status().totals.all_runs.sent < row.ordinal:
                unclaimed.append(row)

    def note(data):
        with fixture.journal() as journal:
            (attempt,) = journal.file(f"f{int(data.split()[3][:-1]):03}.txt").attempts
        seen.append(attempt.answer is not None)

    class Looks(Ask):
        def process_data(self, data):
            answer = request_openai_api(question(data))
            note(data)
            return answer

    class LooksAsync(Ask):
        async def process_data(self, data):
            answer = await arequest_openai_api(question(data))
            note(data)
            return answer

    sim = fixture.simulate(on_post=look)
    fixture.inputs(25).configure(sim).run(LooksAsync if is_async else Looks)
    assert seen == [True] * 25
    assert (sim.ledger.hits(), unclaimed) == (25, [])
