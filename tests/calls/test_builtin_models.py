"""The models that come with the package, over the wire."""

import base64
import json
import struct

import pytest
from toolkit_fixture import Hooks

from openai_parallel_toolkit import (
    ChatModel,
    EmbeddingModel,
    FakeTransport,
    Gpt35Turbo,
    IncompleteAnswer,
    InvalidAnswer,
    NoUsableKey,
    OutcomeUnknown,
    RequestFailed,
    ResponsesModel,
    UsageError,
    request_openai_api,
    request_reply,
)
from openai_parallel_toolkit.calls.models import request_of
from openai_parallel_toolkit.core.records import RawReply
from openai_parallel_toolkit.simulator import Fault

EMBEDDER = "text-embedding-3-small"


def reply(**body):
    return RawReply(status=200, headers={}, body=json.dumps(body).encode())


def ask_once(fixture, model, answer, **settings):
    """Ask in a hook whose requests are answered so; return the value or the error."""
    got = []

    class Asks(Hooks):
        def process_data(self, data):
            try:
                got.append(request_openai_api(model))
            except Exception as exc:
                got.append(exc)

    fake = FakeTransport(lambda request, lease: answer)
    fixture.configure(fixture.simulate()).inputs(1).run(Asks, transport=fake, **settings)
    return got[0]


def test_an_embedding_is_a_vector_and_a_list_gives_a_list_of_vectors(fixture):
    keys = fixture.keys(fixture.simulate())
    one = request_openai_api(EmbeddingModel(EMBEDDER, "first", dimensions=8), keys)
    assert len(one) == 8
    assert all(isinstance(number, float) for number in one)
    two = request_openai_api(EmbeddingModel(EMBEDDER, ["first", "second"], dimensions=8), keys)
    assert two[0] == one != two[1]
    assert request_openai_api(EmbeddingModel(EMBEDDER, ["first"], dimensions=8), keys) == [one]


def test_token_numbers_are_one_input_and_lists_of_them_several(fixture):
    keys = fixture.keys(fixture.simulate())
    one = request_openai_api(EmbeddingModel(EMBEDDER, [1, 2, 3], dimensions=4), keys)
    assert len(one) == 4
    got = request_openai_api(EmbeddingModel(EMBEDDER, [[1, 2, 3], [4]], dimensions=4), keys)
    assert got[0] == one
    assert len(got) == 2


def packed(*numbers):
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


@pytest.mark.parametrize(
    "rows",
    [
        [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}],
        [{"index": 2, "embedding": [2.0]}, {"index": 1, "embedding": [1.0]}],
        [{"embedding": [1.0]}, {"embedding": [2.0]}],
        [{"index": None, "embedding": [1.0]}, {"index": None, "embedding": [2.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [2.0]}],
        [{"index": 1, "embedding": packed(2)}, {"index": 0, "embedding": packed(1)}],
    ],
)
def test_vectors_come_in_the_order_of_the_inputs(fixture, rows):
    model = EmbeddingModel(EMBEDDER, ["a", "b"])
    assert ask_once(fixture, model, reply(data=rows)) == [[1.0], [2.0]]


@pytest.mark.parametrize(
    "rows",
    [
        [{"index": 0, "embedding": [1.0]}],
        [{"index": n, "embedding": [1.0]} for n in range(3)],
        [{"embedding": [1.0]}, {"index": 0, "embedding": [2.0]}],
        ["no row"],
        [{"index": 0}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": []}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [None]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": "AAA"}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": "no base64!"}],
    ],
)
def test_missing_vectors_are_an_invalid_answer(fixture, rows):
    got = ask_once(fixture, EmbeddingModel(EMBEDDER, ["a", "b"]), reply(data=rows))
    assert isinstance(got, InvalidAnswer)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (EmbeddingModel("m", content="c"), EmbeddingModel("m", "c")),
        (ResponsesModel("m", content="c"), ResponsesModel("m", "c")),
        (ResponsesModel("m", content="c", prompt="p"), ResponsesModel("m", "c", instructions="p")),
    ],
)
def test_prompt_and_content_are_other_names_for_the_same_request(one, other):
    assert request_of(one) == request_of(other)


def test_a_stored_prompt_passes_through():
    stored = {"id": "pmpt_1", "variables": {"city": "Oslo"}}
    model = ResponsesModel("m", "c", prompt=stored, instructions="i")
    assert model.payload() == {"model": "m", "input": "c", "instructions": "i", "prompt": stored}


@pytest.mark.parametrize("kind", [EmbeddingModel, ResponsesModel])
@pytest.mark.parametrize("given", [{}, {"input": "a", "content": "b"}])
def test_input_goes_by_one_name(kind, given):
    with pytest.raises(UsageError, match=f"{kind.__name__}: give either input or content"):
        kind("m", **given)


def test_instructions_go_by_one_name():
    with pytest.raises(UsageError, match="either prompt or instructions"):
        ResponsesModel("m", "c", prompt="p", instructions="i")


def test_an_embedding_takes_no_prompt():
    with pytest.raises(UsageError, match="an embedding has no prompt"):
        EmbeddingModel("m", "c", prompt="p")


@pytest.mark.parametrize("given", ["", []])
def test_an_empty_input_is_the_servers_to_refuse(fixture, given):
    with pytest.raises(Exception, match="input"):
        request_openai_api(EmbeddingModel(EMBEDDER, given), fixture.keys(fixture.simulate()))


def test_a_vector_is_replayed(fixture):
    class Embeds(Hooks):
        def process_data(self, data):
            return request_openai_api(EmbeddingModel(EMBEDDER, [data, "more"], dimensions=4))

    sim = fixture.simulate()
    fixture.configure(sim).inputs(2).run(Embeds)
    before = fixture.outputs()
    for path in fixture.output.glob("*.json"):
        path.unlink()
    assert fixture.run(Embeds).calls.sent == 0
    assert fixture.outputs() == before
    assert sim.ledger.billed() == 2


def test_a_response_is_a_text(fixture):
    sim = fixture.simulate()
    keys = fixture.keys(sim)
    model = ResponsesModel("gpt-4o-mini", "Say something.", instructions="be brief")
    assert request_openai_api(model, keys) == "Say something."
    answered = request_reply(model, keys)
    assert answered.usage.total_tokens > 0
    assert {row.path for row in sim.ledger.rows()} == {"/v1/responses"}


def test_a_response_that_is_cut_is_incomplete(fixture):
    keys = fixture.keys(fixture.simulate())
    model = ResponsesModel("gpt-4o-mini", "one two three four five", max_output_tokens=1)
    with pytest.raises(IncompleteAnswer) as caught:
        request_openai_api(model, keys)
    assert caught.value.finish_reason == "length"


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_response_that_failed_is_no_answer(fixture, status):
    answer = reply(status=status, output=[], error={"code": "server_error", "message": "broke"})
    got = ask_once(fixture, ResponsesModel("m", "hello"), answer, max_retries=1)
    assert (type(got), got.outcome.value, got.maybe_billed) == (RequestFailed, "busy", 0)
    assert "broke" in got.message


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_response_that_failed_without_a_word_is_not_known(fixture, status):
    answer = reply(status=status, output=[])
    got = ask_once(fixture, ResponsesModel("m", "hello"), answer, max_unknown=0)
    assert isinstance(got, OutcomeUnknown)


@pytest.mark.parametrize("status", ["queued", "in_progress", "unheard_of"])
def test_a_response_that_is_not_there_yet_is_incomplete(fixture, status):
    answer = reply(status=status, output=[])
    assert isinstance(ask_once(fixture, ResponsesModel("m", "hello"), answer), IncompleteAnswer)


def chat(**message):
    return reply(choices=[{"index": 0, "message": message, "finish_reason": "stop"}])


REFUSED = [{"type": "message", "content": [{"type": "refusal", "refusal": "I will not."}]}]


@pytest.mark.parametrize(
    ("model", "answer"),
    [
        (ChatModel("m", content="c"), chat(content=None, refusal="I will not.")),
        (
            ChatModel("m", content="c", response_format={"type": "json_object"}),
            chat(content=None, refusal="I will not."),
        ),
        (ResponsesModel("m", "c"), reply(status="completed", output=REFUSED)),
    ],
)
def test_a_refusal_is_an_incomplete_answer_with_the_models_words(fixture, model, answer):
    got = ask_once(fixture, model, answer)
    assert isinstance(got, IncompleteAnswer)
    assert (got.text, got.finish_reason) == ("I will not.", "refusal")
    assert "I will not." not in got.message


@pytest.mark.parametrize(
    ("model", "answer"),
    [
        (ChatModel("m", content="c", tools=[]), chat(content=None, tool_calls=[{"id": "1"}])),
        (
            ResponsesModel("m", "c"),
            reply(status="completed", output=[{"type": "function_call", "name": "f"}]),
        ),
    ],
)
def test_a_call_of_a_tool_is_a_whole_answer(fixture, model, answer):
    assert ask_once(fixture, model, answer) == ""


def test_images_tools_and_whatever_the_api_knows_pass_through():
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    model = ChatModel("m", content=parts, prompt="p", tools=tools, tool_choice="auto", n=None)
    body = json.loads(request_of(model).body)
    assert body["messages"][1]["content"] == parts
    assert (body["tools"], body["tool_choice"]) == (tools, "auto")
    assert "n" not in body


@pytest.mark.parametrize(
    "model", [ChatModel("m", content="c", stream=True), ResponsesModel("m", "c", stream=True)]
)
def test_streams_are_refused_before_they_are_paid_for(fixture, model):
    sim = fixture.simulate()
    with pytest.raises(UsageError, match="stream"):
        request_openai_api(model, fixture.keys(sim))
    assert sim.ledger.hits() == 0


@pytest.mark.parametrize("kind", ["broken_json", "cut_body", "503"])
def test_every_model_is_tried_again_as_any_other(fixture, kind):
    sim = fixture.simulate(faults=[Fault(kind, at=[1], retry_after=0.01)])
    assert request_openai_api(EmbeddingModel(EMBEDDER, "text"), fixture.keys(sim))
    assert sim.ledger.hits() == 2


def test_gpt35_turbo_has_what_it_was_made_of():
    model = Gpt35Turbo(content="hello world", prompt="be brief", temperature=0.2)
    assert (model.content, model.prompt, model.temperature) == ("hello world", "be brief", 0.2)


def test_a_base_without_v1_is_told_as_that(fixture):
    sim = fixture.simulate()
    key = {"key": sim.keys[0].secret, "api_base": sim.url.removesuffix("/v1")}
    with pytest.raises(NoUsableKey, match=r"check api_base \(it usually ends in /v1\)"):
        request_openai_api(Gpt35Turbo("hello"), keys=[key])
    assert sim.ledger.hits() == 1
