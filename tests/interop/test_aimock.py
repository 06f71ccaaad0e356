"""Against aimock, a mock server that others wrote: its chaos, errors, Azure paths and streams."""

import asyncio

import pytest
from pydantic import BaseModel
from servers import Aimock

from openai_parallel_toolkit import (
    ApiQueue,
    APIRequester,
    ChatModel,
    EmbeddingModel,
    IncompleteAnswer,
    NoUsableKey,
    OpenAIModel,
    OutcomeUnknown,
    RequestFailed,
    RequestRejected,
    ResponsesModel,
    request_openai_api,
    request_reply,
)
from openai_parallel_toolkit.cli.keycheck import check_keys
from openai_parallel_toolkit.keys.config import load_settings

ONE, TWO = Aimock.KEYS
MODEL = "gpt-4o-mini"


def ask(content, **parameters):
    return ChatModel(MODEL, content=content, **parameters)


def statuses(aimock):
    return [entry["response"]["status"] for entry in aimock.seen()]


# -- folders ---------------------------------------------------------------------------------------


@pytest.fixture
def texts(fixture, aimock):
    """Sixty files, each with its own answer: the number of tokens is that of the file."""
    fixture.inputs(60)
    for n in range(60):
        usage = {"prompt_tokens": 100, "completion_tokens": 1 + n, "total_tokens": 101 + n}
        answer = {"content": f"answer {n:03}", "usage": usage}
        aimock.answer({"userMessage": f"text of file {n:03}"}, answer)
    return {f"f{n:03}.json": f"answer {n:03}" for n in range(60)}


CHAOS = {
    "drops": {"dropRate": 0.2},
    "malformed": {"malformedRate": 0.2},
    "disconnects": {"disconnectRate": 0.2},
    "all": {"dropRate": 0.1, "malformedRate": 0.08, "rateLimitRate": 0.05, "disconnectRate": 0.08},
}
#: With their limits in the config, those that stand in every 429 are not learned: no tokens left.
UNLIMITED = [{"key": key, "rpm": 60_000, "tpm": 60_000_000} for key in Aimock.KEYS]


@pytest.mark.parametrize("rates", CHAOS.values(), ids=CHAOS)
def test_through_chaos_all_files_are_right_after_a_few_runs_and_no_answer_is_bought_twice(
    fixture, aimock, texts, rates
):
    aimock.chaos(**rates)
    runs = []
    while not runs or (runs[-1].done + runs[-1].skipped < 60 and len(runs) < 6):
        runs.append(fixture.run(fixture.keys(aimock.url, *UNLIMITED), retry_failed=True))
    assert fixture.outputs() == texts
    seen = aimock.seen()
    answered = [entry for entry in seen if "chaosAction" not in entry["response"]]
    lost = [e for e in seen if e["response"].get("chaosAction") in {"malformed", "disconnect"}]
    assert sum(run.calls.sent for run in runs) == len(seen) > len(answered)
    assert sum(run.calls.answered for run in runs) == len(answered) == 60
    assert sum(run.calls.unknown for run in runs) == len(lost)
    assert sum(run.calls.tokens for run in runs) == sum(101 + n for n in range(60))


def test_a_limit_is_waited_for_as_long_as_it_says(fixture, aimock, texts):
    """Its 429 says: again in a second; no tokens are left, and all of them in six minutes."""
    aimock.fail_next(429, message="slow down", type="rate_limit_error", code="rate_limit_exceeded")
    summary = fixture.run(fixture.keys(aimock.url, ONE), file_count=3, num_threads=1)
    assert (summary.done, summary.calls.sent) == (3, 4)
    refused, *answered = (entry["timestamp"] / 1000 for entry in aimock.seen())
    assert 1 <= answered[0] - refused < 2
    assert answered[-1] - answered[0] < 1


def test_a_key_without_quota_is_dropped_and_the_other_does_the_rest(fixture, aimock, texts):
    aimock.fail_next(429, message="pay", type="insufficient_quota", code="insufficient_quota")
    summary = fixture.run(fixture.keys(aimock.url, ONE, TWO))
    assert fixture.outputs() == texts
    assert sorted(key.state for key in summary.keys) == ["alive", "dropped"]
    assert summary.calls.sent == 61


def test_a_key_that_it_refuses_is_dropped_and_the_last_one_is_named(fixture, aimock, texts):
    wrong = {"key": "sk-wrong", "name": "wrong"}
    assert fixture.run(fixture.keys(aimock.url, wrong, ONE), file_count=20).done == 20
    with pytest.raises(NoUsableKey, match="wrong: 401 invalid_api_key") as caught:
        fixture.run(fixture.keys(aimock.url, wrong))
    assert (caught.value.summary.left, caught.value.summary.failed) == (40, 0)
    assert fixture.run(fixture.keys(aimock.url, TWO)).done == 40
    assert fixture.outputs() == texts


def test_the_check_of_keys_tells_a_good_one_from_a_wrong_one(aimock):
    keys = [{"key": key, "api_base": aimock.url} for key in ("sk-wrong", TWO)]
    checked = check_keys(load_settings(api_keys=keys))
    assert [health.state for health in checked] == ["invalid", "alive"]


# -- refusals --------------------------------------------------------------------------------------


def test_a_request_that_it_refuses_is_not_sent_again(fixture, aimock):
    error = {"message": "too long", "type": "invalid_request_error"}
    error["code"] = "context_length_exceeded"
    aimock.answer({"userMessage": "long"}, {"error": error, "status": 400})
    with pytest.raises(RequestRejected, match="too long") as caught:
        request_openai_api(ask("a long text"), fixture.keys(aimock.url, ONE))
    assert caught.value.code == "context_length_exceeded"
    (entry,) = aimock.seen()
    assert caught.value.request_id == entry["headers"]["x-request-id"]


def test_a_server_error_is_tried_again_as_often_as_is_allowed(fixture, aimock):
    aimock.answer({}, {"content": "at last"})
    keys = fixture.keys(aimock.url, ONE)
    aimock.fail_next(503, message="overloaded")
    assert request_openai_api(ask("hello"), keys, max_retries=1) == "at last"
    for _ in range(2):
        aimock.fail_next(500, message="broken")
    with pytest.raises(RequestFailed, match="broken") as caught:
        request_openai_api(ask("hello again"), keys, max_retries=1)
    assert (caught.value.attempts, caught.value.maybe_billed) == (2, 0)
    assert statuses(aimock) == [503, 200, 500, 500]


def test_a_model_that_it_does_not_have_is_not_asked_for_again(fixture, aimock):
    """Its 404 names no model: one request alone could be at fault, two different ones are not."""
    aimock.answer({"model": MODEL}, {"content": "here"})
    keys = fixture.keys(aimock.url, ONE)
    for text, error in (("one", RequestRejected), ("two", NoUsableKey), ("three", NoUsableKey)):
        with pytest.raises(error, match="No fixture matched"):
            request_openai_api(ChatModel("elsewhere", content=text), keys)
    assert request_openai_api(ask("hello"), keys) == "here"
    assert statuses(aimock) == [404, 404, 200]


# -- answers ---------------------------------------------------------------------------------------


def test_an_answer_that_was_cut_is_incomplete(fixture, aimock):
    aimock.answer({}, {"content": "Half an ans", "finishReason": "length"})
    keys = fixture.keys(aimock.url, ONE)
    for model in (ask("hello"), ResponsesModel(MODEL, "hello")):
        with pytest.raises(IncompleteAnswer) as caught:
            request_openai_api(model, keys)
        assert caught.value.text == "Half an ans"


def test_the_responses_api_answers(fixture, aimock):
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    aimock.answer({"userMessage": "hello"}, {"content": "Hi there", "usage": usage})
    reply = request_reply(ResponsesModel(MODEL, "hello"), fixture.keys(aimock.url, ONE))
    assert (reply.text, reply.finish_reason) == ("Hi there", "stop")
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (7, 5)


def test_an_answer_in_the_form_of_a_pydantic_class_is_asked_for_until_it_fits(fixture, aimock):
    class Place(BaseModel):
        city: str
        people: int

    match = {"userMessage": "where", "responseFormat": "json_schema"}
    aimock.answer({**match, "sequenceIndex": 0}, {"content": {"city": "Ulm", "people": "many"}})
    aimock.answer({**match, "sequenceIndex": 1}, {"content": {"city": "Ulm", "people": 126000}})
    place = request_openai_api(ask("where", response_format=Place), fixture.keys(aimock.url, ONE))
    assert place == Place(city="Ulm", people=126000)
    assert statuses(aimock) == [200, 200]


def test_embeddings_are_vectors(fixture, aimock):
    aimock.answer({"inputText": "one"}, {"embedding": [0.25, -0.5]})
    keys = fixture.keys(aimock.url, ONE)
    assert request_openai_api(EmbeddingModel("embed", "one"), keys) == [0.25, -0.5]
    vectors = request_openai_api(EmbeddingModel("embed", ["two", "three"], dimensions=8), keys)
    assert [len(vector) for vector in vectors] == [8, 8]


class Streams(OpenAIModel):
    """Puts the pieces of a stream together."""

    def __init__(self, content):
        self.content = content

    def generate(self, client):
        messages = [{"role": "user", "content": self.content}]
        pieces = client.chat.completions.create(model=MODEL, messages=messages, stream=True)
        return "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)


def test_a_stream_that_breaks_off_gives_no_half_answer_and_counts_as_maybe_billed(fixture, aimock):
    text = "a text of several pieces, " * 5
    aimock.answer({"userMessage": "whole"}, {"content": text})
    aimock.answer({"userMessage": "half"}, {"content": text}, truncateAfterChunks=3)
    keys = fixture.keys(aimock.url, ONE)
    assert request_openai_api(Streams("whole"), keys) == text.strip()
    with pytest.raises(OutcomeUnknown) as caught:
        request_openai_api(Streams("half"), keys)
    assert (caught.value.attempts, caught.value.maybe_billed) == (2, 2)


# -- Azure -----------------------------------------------------------------------------------------


@pytest.fixture
def azure(aimock, monkeypatch):
    """An environment as Azure's users have it."""
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", ONE)
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", aimock.address)
    monkeypatch.setenv("OPENAI_API_VERSION", "2024-10-21")
    return aimock


def check_asked_at(aimock, path):
    """Everything was asked at this path, with Azure's header."""
    entries = aimock.seen()
    assert all("api-key" in e["headers"] and "authorization" not in e["headers"] for e in entries)
    assert {entry["path"] for entry in entries} == {f"/openai/{path}?api-version=2024-10-21"}


def test_on_azure_a_folder_is_answered_by_the_deployment(fixture, azure, texts):
    key = {"key": ONE, "api_base": azure.address, "azure_deployment": "mine"}
    summary = fixture.run(fixture.keys(azure.url, {**key, "api_version": "2024-10-21"}))
    assert (summary.done, fixture.outputs()) == (60, texts)
    check_asked_at(azure, "deployments/mine/chat/completions")


@pytest.mark.parametrize(
    ("model", "path"),
    [
        (ask("hello"), f"deployments/{MODEL}/chat/completions"),
        (EmbeddingModel("embed", "hello"), "deployments/embed/embeddings"),
        (ResponsesModel(MODEL, "hello"), "responses"),
        (Streams("hello"), f"deployments/{MODEL}/chat/completions"),
    ],
    ids=["chat", "embeddings", "responses", "generate"],
)
def test_on_azure_each_call_goes_to_its_own_path(fixture, azure, model, path):
    azure.answer({"inputText": "hello"}, {"embedding": [1.0]})
    azure.answer({}, {"content": "Hi there"})
    assert request_openai_api(model) in ("Hi there", [1.0])
    check_asked_at(azure, path)


def test_on_azure_a_list_of_messages_is_answered_through_chaos(fixture, azure):
    for n in range(30):
        azure.answer({"userMessage": f"prompt {n:02}"}, {"content": f"answer {n:02}"})
    azure.chaos(dropRate=0.2)
    prompts = [[{"role": "user", "content": f"prompt {n:02}"}] for n in range(30)]
    with APIRequester(MODEL, max_retries=10, progress=False) as api:
        results = api.get_responses_parallel(prompts)
    assert [result["content"] for result in results] == [f"answer {n:02}" for n in range(30)]
    check_asked_at(azure, f"deployments/{MODEL}/chat/completions")


# -- ready-made requests ---------------------------------------------------------------------------


def queue_to(aimock, path, requests, chaos=None, **settings):
    headers = {"Authorization": f"Bearer {ONE}"}
    headers.update({f"x-aimock-chaos-{name}": str(rate) for name, rate in (chaos or {}).items()})
    return ApiQueue(f"{aimock.url}/{path}", headers, requests, **settings)


def test_a_queue_gets_all_responses_in_order_through_the_chaos_that_its_headers_ask_for(aimock):
    for n in range(40):
        aimock.answer({"userMessage": f"prompt {n:02}"}, {"content": f"answer {n:02}"})
    requests = [
        {"model": MODEL, "messages": [{"role": "user", "content": f"prompt {n:02}"}]}
        for n in range(40)
    ]
    chaos = {"drop": 0.1, "malformed": 0.1, "disconnect": 0.1}
    queue = queue_to(aimock, "chat/completions", requests, chaos)
    out = asyncio.run(queue.run())
    contents = [response["choices"][0]["message"]["content"] for response in out]
    assert contents == [f"answer {n:02}" for n in range(40)]
    assert sum(queue.tries) == len(aimock.seen()) > 40


def test_a_queue_stops_at_what_never_comes_and_keeps_what_came(aimock):
    aimock.answer({"userMessage": "good"}, {"content": "fine"})
    chaos = {"malformedRate": 1}
    aimock.answer({"userMessage": "bad"}, {"content": "never seen"}, chaos=chaos)
    requests = [
        {"model": MODEL, "messages": [{"role": "user", "content": word}]}
        for word in ("good", "bad")
    ]
    queue = queue_to(aimock, "chat/completions", requests, max_retries=2)
    with pytest.raises(OutcomeUnknown):
        asyncio.run(queue.run())
    assert queue.out[0]["choices"][0]["message"]["content"] == "fine"
    assert (queue.out[1], queue.tries) == (None, [1, 3])


def test_a_queue_gets_embeddings(aimock):
    requests = [{"model": "embed", "input": f"text {n}", "dimensions": 4} for n in range(5)]
    out = asyncio.run(queue_to(aimock, "embeddings", requests).run())
    assert [len(response["data"][0]["embedding"]) for response in out] == [4] * 5
