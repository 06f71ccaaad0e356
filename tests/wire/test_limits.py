"""Limits that are of one request or of one model hold up nobody else."""

import json

import pytest
from wire_fixture import Ask, check_books

from openai_parallel_toolkit import ChatModel, request_openai_api
from openai_parallel_toolkit.simulator import Fault, SimKey

MANY = 100
TPM = "on tokens per min (TPM)"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (429, f"Request too large for m {TPM}: Limit 30000, Requested 45000. Reduce it."),
        (413, f"Request too large for m {TPM}: Limit 30,000, Requested 45,000. Reduce it."),
        (429, "This would exceed the limit of your organization of 50 input tokens per minute."),
    ],
)
def test_a_file_too_large_for_every_limit_fails_alone_and_is_put_aside(fixture, status, words):
    keys = ("one", "two", "three")
    fault = Fault("429", status=status, marker="LARGE", message=words, retry_after=30)
    sim = fixture.simulate(*keys, faults=[fault])
    fixture.inputs(MANY).configure(sim)
    (fixture.input / "f013.txt").write_text("LARGE " + "word " * 200)
    first = fixture.run()
    assert (first.done, first.failed, first.seconds < 25) == (MANY - 1, 1, True)
    (line,) = fixture.failures(first)
    assert (line["file"], line["kind"]) == ("f013.txt", "RequestRejected")
    assert words.rstrip(".") in line["message"]
    assert "split it" in line["message"]
    assert {key.state for key in first.keys} == {"alive"}
    assert sim.ledger.hits() == MANY - 1 + len(keys)
    check_books(fixture, sim, first)
    second = fixture.run()
    third = fixture.run()
    assert (second.failed, third.failed, fixture.run().calls.sent) == (1, 1, 0)
    with fixture.journal() as journal:
        assert {state.value: n for state, n in journal.status().files.items() if n} == {
            "done": MANY - 1,
            "aside": 1,
        }


def test_a_file_that_only_some_keys_have_room_for_is_done_under_those(fixture):
    fault = Fault("429", key="small", marker="LARGE", message="Limit 30, Requested 45")
    sim = fixture.simulate("small", "large", faults=[fault])
    fixture.inputs(20).configure(sim)
    for n in (3, 9):
        (fixture.input / f"f{n:03}.txt").write_text(f"LARGE {n}")
    summary = fixture.run()
    assert (summary.done, summary.failed) == (20, 0)
    assert 20 <= sim.ledger.hits() <= 22
    check_books(fixture, sim, summary)


def test_what_the_simulator_finds_too_large_is_refused(fixture):
    sim = fixture.simulate(SimKey("good", tpm=5_000))
    fixture.inputs(3).configure(sim)
    (fixture.input / "f001.txt").write_text("word " * 6_000)

    class Brief(Ask):
        def process_data(self, data):
            return request_openai_api(ChatModel("gpt-3.5-turbo", content=data, max_tokens=50))

    summary = fixture.run(Brief)
    assert (summary.done, summary.failed, sim.ledger.hits()) == (2, 1, 3)
    (line,) = fixture.failures(summary)
    assert "Limit 5000, Requested" in line["message"]


class TwoModels(Ask):
    """Asks one model for odd files and another for even ones."""

    def process_data(self, data):
        number = json.loads(data)
        return request_openai_api(ChatModel(f"model-{number % 2}", content=str(number)))


def test_a_limit_of_one_model_does_not_hold_up_another_under_the_same_key(fixture):
    limit = Fault("429", marker='"model-1"', retry_after=1, times=1)
    sim = fixture.simulate("good", faults=[limit])
    fixture.configure(sim)
    for number in range(20):
        (fixture.input / f"f{number:03}.txt").write_text(str(number))
    summary = fixture.run(TwoModels, num_threads=20)
    assert (summary.done, summary.failed) == (20, 0)
    rows = sim.ledger.rows()
    limited = next(row for row in rows if row.fault == "429")
    open_ones = [row.time_s for row in rows if row.model == "model-0"]
    later = [r.time_s for r in rows if r.model == "model-1" and r.time_s > limited.time_s + 0.5]
    assert len(open_ones) == 10
    assert max(open_ones) < min(later)
