"""Results may name a line twice, or one that nobody sent: it is told, and the first counts."""

import asyncio
import json
import logging

import pytest
from batch_fixture import cost_of, lines_of
from store_fixture import MODEL, ask, form, suspend

from openai_parallel_toolkit import APIKeyManager
from openai_parallel_toolkit.batch.batch_budget import BatchBudget
from openai_parallel_toolkit.batch.collect import CallLines, custom_id
from openai_parallel_toolkit.batch.judgement import BatchEnd
from openai_parallel_toolkit.batch.service import lines_in
from openai_parallel_toolkit.calls.run_context import RunContext
from openai_parallel_toolkit.core.clock import SystemClock
from openai_parallel_toolkit.core.records import Outcome, OutcomeKind
from openai_parallel_toolkit.costs.prices import PriceBook
from openai_parallel_toolkit.journal import Journal
from openai_parallel_toolkit.simulator import BatchCourse

SILENT = BatchEnd(rest=Outcome(kind=OutcomeKind.UNKNOWN, code="silent"))
REFUSED = (400, {"error": {"code": "invalid_value", "message": "no"}})


def told(caplog):
    return [
        one.getMessage() for one in caplog.records if getattr(one, "action", "") == "batch_surplus"
    ]


def test_the_first_answer_counts_and_what_is_too_much_is_told_once(fixture, caplog):
    sim = fixture.simulate()
    sim.batch_controls.follow(BatchCourse(repeats=2, strangers=3))
    summary = fixture.inputs(6).configure(sim).run()
    assert (summary.done, summary.calls.answered, summary.calls.unknown) == (6, 6, 0)
    assert not any(b"Again" in content for content in fixture.outputs().values())
    assert summary.calls.cost_usd == cost_of(lines_of(sim))
    (warning,) = told(caplog)
    assert "2 lines that came before, 2 of them with other words" in warning
    assert "3 lines that nobody asked for" in warning
    assert "may be billed, $0.0" in warning


def chat(text):
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return 200, {"object": "chat.completion", "model": MODEL, "choices": [choice]}


def line(name, status, body):
    said = {"custom_id": name, "response": {"status_code": status, "body": body}}
    return json.dumps(said).encode() + b"\n"


class NotedBudget(BatchBudget):
    """Notes what lines came to."""

    ends = ()

    def settle(self, batch_id, ends):
        self.ends += tuple(ends)
        super().settle(batch_id, ends)


@pytest.fixture
def books(tmp_path):
    journal = Journal.open(str(tmp_path / "state"))
    journal.begin_run("v1")
    journal.batches.begin()
    keys = APIKeyManager(["sk-1234"])
    yield journal, keys
    keys.close()
    journal.close()


@pytest.mark.parametrize(
    ("said", "kept", "warns"),
    [
        ([chat("a"), chat("b")], "a", True),
        ([chat("a"), chat("a")], "a", True),
        ([REFUSED, chat("a")], "a", True),
        ([chat("a"), REFUSED], "a", True),
        ([(200, {"choices": []}), chat("a"), chat("b")], "a", True),
        ([chat(""), REFUSED, chat("a")], "a", True),
        ([REFUSED, chat(""), REFUSED], "", True),
        ([REFUSED, REFUSED], None, True),
        ([chat("a")], "a", False),
    ],
)
@pytest.mark.parametrize("apart", [0, 300])
def test_the_first_usable_line_of_a_request_counts(
    books, tmp_path, caplog, said, kept, warns, apart
):
    """Also when a page of other lines lies between."""
    journal, keys = books
    budget = NotedBudget(None)
    store = journal.batches
    file_id = journal.file("a.txt").id
    suspend(store, file_id, ask(file_id, "one"))
    batch = form(store)
    lines = CallLines(
        store,
        RunContext(journal=journal, prices=PriceBook({})),
        budget,
        str(tmp_path),
        SystemClock(),
        str,
    )
    (attempt,) = [one.attempt_id for page in store.sent(batch) for one in page]
    path = tmp_path / "results.jsonl"
    between = b"".join(b"{}\n" for _ in range(apart))
    path.write_bytes(between.join(line(custom_id(attempt), *one) for one in said))
    (lease,) = keys.unmetered_leases(MODEL)
    with caplog.at_level(logging.WARNING):
        asyncio.run(lines.take_in(batch, SILENT, lease, [str(path)]))
    assert [one for page in store.sent(batch) for one in page] == []
    (end,) = budget.ends
    assert (end.body is None) if kept is None else (f'"content":"{kept}"'.encode() in end.body)
    assert bool(told(caplog)) is warns


def test_a_line_without_end_is_passed_over_and_takes_no_memory(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_bytes(b'{"a":1}\n' + b"x" * 3_000_000 + b'\n{"b":2}\n' + b"y" * 500)
    with path.open("rb") as file:
        assert list(lines_in(file, 1_000)) == [b'{"a":1}\n', b"", b'{"b":2}\n', b"y" * 500]
