"""Batches at aimock: each of their outcomes, lost replies, and nothing left behind.

It moves a batch on each time that it is asked how the batch stands, and answers every line with the
same words.
"""

import pytest
from interop_fixture import Hooks
from servers import Aimock

from openai_parallel_toolkit import (
    ChatModel,
    EmbeddingModel,
    NoUsableKey,
    ResponsesModel,
    request_openai_api,
)
from openai_parallel_toolkit.batch import BatchOptions

ONE, TWO = Aimock.KEYS
ANSWER = "Mock batch completion"
FILES = 25
QUICK = BatchOptions(max_lines=10, poll_s=0.02, longest_poll_s=0.1)


@pytest.fixture
def inputs(fixture, aimock):
    fixture.inputs(FILES)
    aimock.answer({"userMessage": "text of file"}, {"content": "sent live"})


def answered_lines(aimock):
    """How many lines of each batch were answered, as the server counted."""
    return [batch["request_counts"]["completed"] for batch in aimock.kept("batches")]


def check_nothing_is_left(aimock):
    """Every file that was uploaded or written was deleted in the end."""
    assert aimock.kept("files") == []


def in_batches(fixture, url, kind=Hooks, **settings):
    return fixture.run(fixture.keys(url, ONE), kind, mode="batch", batch=QUICK, **settings)


def test_a_folder_is_answered_in_batches_and_a_second_run_sends_nothing(fixture, aimock, inputs):
    summary = in_batches(fixture, aimock.url)
    assert (summary.done, summary.calls.answered, summary.calls.tokens) == (FILES, FILES, 2 * FILES)
    assert set(fixture.outputs().values()) == {ANSWER}
    answered = answered_lines(aimock)
    assert (sum(answered), max(answered)) == (FILES, 10)
    assert not aimock.seen(path="/chat/completions")
    check_nothing_is_left(aimock)
    fixture.clear_outputs()
    again = in_batches(fixture, aimock.url)
    assert (again.done, again.calls.sent, again.calls.replayed) == (FILES, 0, FILES)


@pytest.mark.parametrize("outcome", ["expired", "cancelled", "failed"])
def test_what_batches_came_back_without_is_sent_live_when_asked(fixture, aimock, inputs, outcome):
    summary = in_batches(fixture, aimock.url_for(outcome), finish="live")
    assert (summary.done, summary.failed) == (FILES, 0)
    assert set(fixture.outputs().values()) == {"sent live"}
    check_nothing_is_left(aimock)


@pytest.mark.parametrize("outcome", ["expired", "cancelled", "failed"])
def test_batches_that_never_succeed_are_given_up_and_a_later_run_goes_on(
    fixture, aimock, inputs, outcome
):
    summary = in_batches(fixture, aimock.url_for(outcome), max_retries=1)
    assert (summary.done, summary.failed, summary.calls.answered) == (0, FILES, 0)
    check_nothing_is_left(aimock)
    summary = in_batches(fixture, aimock.url)
    assert (summary.done, summary.calls.answered) == (FILES, FILES)


def test_batches_come_through_chaos_and_no_line_is_answered_twice(fixture, aimock, inputs):
    aimock.chaos(dropRate=0.08, malformedRate=0.06, disconnectRate=0.06)
    for _ in range(4):
        summary = in_batches(fixture, aimock.url, retry_failed=True)
        if summary.done + summary.skipped == FILES:
            break
    assert list(fixture.outputs().values()) == [ANSWER] * FILES
    aimock.chaos()
    assert sum(answered_lines(aimock)) == FILES
    check_nothing_is_left(aimock)


def test_a_key_that_is_refused_is_dropped_before_anything_is_lost(fixture, aimock, inputs):
    with pytest.raises(NoUsableKey):
        fixture.run(fixture.keys(aimock.url, "sk-wrong"), mode="batch", batch=QUICK)
    assert in_batches(fixture, aimock.url).done == FILES


@pytest.mark.parametrize(
    ("model", "answer"),
    [
        (ChatModel("gpt-4o-mini", content="hello"), ANSWER),
        (ResponsesModel("gpt-4o-mini", "hello"), ANSWER),
        (EmbeddingModel("embed", "hello"), [0, 0, 0]),
    ],
    ids=["chat", "responses", "embeddings"],
)
def test_each_of_the_apis_is_asked_in_batches(fixture, aimock, model, answer):
    class Asks(Hooks):
        def process_data(self, data):
            return request_openai_api(model)

    fixture.inputs(3)
    assert in_batches(fixture, aimock.url, Asks).done == 3
    assert list(fixture.outputs().values()) == [answer] * 3
