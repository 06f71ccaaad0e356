"""A larger limit of the reply asks again for the answers that were cut, and for no other."""

import json

import pytest
from money_fixture import MODEL, Sums

from openai_parallel_toolkit import (
    ChatModel,
    ResponsesModel,
    openai_client,
    request_openai_api,
    request_reply,
)
from openai_parallel_toolkit.calls.models import make_request
from openai_parallel_toolkit.core.records import CallId, Outcome, OutcomeKind, Usage
from openai_parallel_toolkit.journal import Journal
from openai_parallel_toolkit.simulator import Simulator

#: Tokens that "Yes." fits into, but no sentence of a file does, and that all answers fit into.
CUTS, ENOUGH = 4, 2_000
LIMITS = {"max_tokens", "max_completion_tokens", "max_output_tokens"}


def chat(text, limit):
    return request_openai_api(ChatModel(MODEL, content=text, **limit))


def response(text, limit):
    return request_openai_api(ResponsesModel(MODEL, text, **limit))


def through_a_client(text, limit):
    asked = [{"role": "user", "content": text}]
    reply = openai_client().chat.completions.create(model=MODEL, messages=asked, **limit)
    assert reply.choices[0].finish_reason == "stop", "cut"
    return reply.choices[0].message.content


def hooks(ask, **limit):
    """Hooks that ask a short and a long answer of each file, and one more that is never cut."""

    class Limited(Sums):
        def process_data(self, text):
            return [ask("Yes.", {}), ask("No.", limit), ask(text, limit)]

    return Limited


@pytest.mark.parametrize(
    ("ask", "name"),
    [
        (chat, "max_tokens"),
        (chat, "max_completion_tokens"),
        (response, "max_output_tokens"),
        (through_a_client, "max_tokens"),
    ],
)
def test_only_what_was_cut_is_asked_again(place, ask, name):
    with Simulator() as sim:
        place.inputs(4, words=(200, 300)).configure(sim)
        first = place.toolkit(hooks(ask, **{name: CUTS}), num_threads=4).run()
        assert (first.done, first.failed) == (0, 4)
        assert sim.ledger.billed() == 12
        second = place.toolkit(hooks(ask, **{name: ENOUGH}), num_threads=4).run()
        assert (second.done, second.calls.sent, second.calls.replayed) == (4, 4, 12)
        assert sim.ledger.billed() == 16
        # What was whole is an answer under any limit, a smaller one and none included.
        for limit in ({name: CUTS + 1}, {}):
            third = place.toolkit(hooks(ask, **limit), num_threads=4, force=True).run()
            assert (third.done, third.calls.sent) == (4, 0)


def test_in_batch_mode_what_was_whole_is_put_into_no_batch_again(place):
    with Simulator() as sim:
        place.inputs(3, words=(200, 300)).configure(sim)
        batch = {"mode": "batch", "num_threads": 3}
        assert place.toolkit(hooks(chat, max_tokens=CUTS), **batch).run().failed == 3
        before = sim.ledger.billed()
        assert place.toolkit(hooks(chat, max_tokens=ENOUGH), **batch).run().done == 3
        assert sim.ledger.billed() == before + 3


@pytest.mark.parametrize("limit", [CUTS, ENOUGH, None])
def test_a_cut_answer_that_was_taken_as_it_came_is_asked_again_under_a_larger_limit(place, limit):
    def taking(most):
        class Taking(Sums):
            def process_data(self, text):
                model = ChatModel(MODEL, content=text, max_tokens=most)
                return [request_reply(model).finish_reason]

        return Taking

    with Simulator() as sim:
        place.inputs(3, words=(200, 300)).configure(sim)
        place.toolkit(taking(CUTS)).run()
        again = place.toolkit(taking(limit), force=True).run()
        assert (again.done, again.calls.sent) == (3, 3 if limit == ENOUGH else 0)
        texts = [path.read_text() for path in place.output.glob("*.json")]
        assert {json.loads(text)[0] for text in texts} == {"stop" if limit == ENOUGH else "length"}
        assert place.toolkit(taking(limit), force=True).run().calls.sent == 0


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_an_answer_of_a_journal_whose_hashes_know_the_limit_is_replayed(place, name):
    """Written as earlier versions did: the limit is a part of the request's hash."""
    text = "one text"
    with Simulator() as sim:
        place.configure(sim)
        (place.input / "f.txt").write_text(text)
        body = {"model": MODEL, "messages": [{"role": "user", "content": text}], name: 50}
        request = make_request("/chat/completions", MODEL, body)
        message = {"role": "assistant", "content": "kept"}
        answer = {"choices": [{"message": message, "finish_reason": "stop"}], "model": MODEL}
        state = place.output / ".openai_parallel_toolkit"
        state.mkdir(parents=True, mode=0o700)
        with_journal(state, request.former_hash, json.dumps(answer).encode())

        class Asks(Sums):
            def process_data(self, data):
                return [request_openai_api(ChatModel(MODEL, content=data, **{name: 50}))]

        summary = place.toolkit(Asks).run()
        assert (summary.done, summary.calls.replayed, sim.ledger.hits()) == (1, 1, 0)


def with_journal(state, hash, body):
    journal = Journal.open(str(state))
    try:
        journal.begin_run(hooks_version="earlier")
        call = CallId(file_id=journal.file("f.txt").id, hash=hash)
        journal.opened(call.file_id)
        attempt = journal.claim(call, key_name="k", model=MODEL, max_cost_usd=None, done=print)
        outcome = Outcome(kind=OutcomeKind.OK, usage=Usage(prompt_tokens=1, completion_tokens=1))
        journal.answered(attempt, call, outcome, body, None, print)
        journal.end_run("stopped", {})
    finally:
        journal.close()
