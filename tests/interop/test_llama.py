"""Against llama.cpp's own server: its refusals, its usage, its streams, its structured answers."""

import asyncio
import math
from typing import Literal

import openai
import pytest
from interop_fixture import Hooks
from pydantic import BaseModel, Field

from openai_parallel_toolkit import (
    ApiQueue,
    ChatModel,
    EmbeddingModel,
    IncompleteAnswer,
    NoUsableKey,
    OpenAIModel,
    RequestRejected,
    ResponsesModel,
    multi_process_one,
    request_openai_api,
    request_reply,
)
from openai_parallel_toolkit.cli.keycheck import check_keys
from openai_parallel_toolkit.keys.config import load_settings

#: llama.cpp's own parameter: a few small letters, and then the answer is whole.
LETTERS = {"grammar": "root ::= [a-z]{3,8}"}
COUNTER = "tokens_predicted_total"


class Tells(Hooks):
    """Writes the answer with what it used."""

    def process_data(self, data):
        reply = request_reply(ChatModel("tiny", content=data, max_tokens=20, **LETTERS))
        return {"text": reply.text, "used": reply.usage.completion_tokens}


class TestFolders:
    FILES = 300  # its connections are closed after 100 requests each

    def test_a_folder_of_files_is_answered_and_its_tokens_are_what_the_server_counted(
        self, fixture, llama
    ):
        fixture.inputs(self.FILES)
        before = llama.counted(COUNTER)
        summary = fixture.run(fixture.keys(llama.url, llama.KEY), Tells)
        assert (summary.done, summary.calls.sent, summary.calls.unknown) == (300, 300, 0)
        outputs = fixture.outputs()
        assert all(told["text"].isalpha() for told in outputs.values())
        used = sum(told["used"] for told in outputs.values())
        assert llama.counted(COUNTER) - before == used
        assert used < summary.calls.tokens == summary.keys[0].tokens

    def test_what_it_answered_is_kept_as_it_is_and_replayed(self, fixture, llama):
        """Without a grammar the tiny model writes control signs, NUL and broken UTF-8."""

        class Raves(Hooks):
            def process_data(self, data):
                ask = ChatModel("tiny", content=data, max_tokens=200)
                return request_openai_api(ask, allow_incomplete=True)

        fixture.inputs(20)
        fixture.run(fixture.keys(llama.url, llama.KEY), Raves)
        outputs = fixture.outputs()
        assert {"\0", "\ufffd"} <= set("".join(outputs.values()))
        fixture.clear_outputs()
        again = fixture.run(fixture.keys(llama.url, llama.KEY), Raves)
        assert (again.calls.sent, again.calls.replayed) == (0, 20)
        assert fixture.outputs() == outputs

    def test_a_key_that_it_refuses_is_dropped_and_the_other_does_the_rest(self, fixture, llama):
        fixture.inputs(30)
        keys = fixture.keys(llama.url, {"key": "sk-wrong", "name": "wrong"}, llama.KEY)
        summary = fixture.run(keys, Tells)
        wrong, good = summary.keys
        assert (wrong.state, good.state, summary.done) == ("dropped", "alive", 30)
        assert "401" in wrong.reason


# -- refusals --------------------------------------------------------------------------------------


def test_the_last_key_that_it_refuses_is_named(fixture, llama):
    keys = fixture.keys(llama.url, {"key": "sk-wrong", "name": "wrong"})
    with pytest.raises(NoUsableKey, match="wrong: 401 authentication_error"):
        request_openai_api(ChatModel("tiny", content="hello"), keys)


def test_the_check_of_keys_tells_a_good_one_from_a_wrong_one(llama):
    keys = [{"key": key, "api_base": llama.url} for key in ("sk-wrong", llama.KEY)]
    checked = check_keys(load_settings(api_keys=keys))
    assert [health.state for health in checked] == ["invalid", "alive"]


def test_a_prompt_that_is_longer_than_its_context_is_refused_and_not_sent_again(fixture, llama):
    keys = fixture.keys(llama.url, llama.KEY)
    with pytest.raises(RequestRejected, match="exceeds the available context size") as caught:
        request_openai_api(ChatModel("tiny", content="x" * 3000), keys)
    error = caught.value
    assert (error.status, error.code, error.attempts) == (400, "exceed_context_size_error", 1)
    assert keys.status()[0].state == "alive"


def test_an_answer_that_reached_its_limit_is_incomplete(fixture, llama):
    with pytest.raises(IncompleteAnswer) as caught:
        request_openai_api(
            ChatModel("tiny", content="hello", max_tokens=2, **LETTERS),
            fixture.keys(llama.url, llama.KEY),
        )
    assert (caught.value.finish_reason, len(caught.value.text)) == ("length", 2)


# -- answers ---------------------------------------------------------------------------------------


class Place(BaseModel):
    city: str = Field(pattern="^[A-Z][a-z]{2,9}$")
    kind: Literal["capital", "port"]
    people: int = Field(ge=0, le=999)


def test_an_answer_in_the_form_of_a_pydantic_class_validates(fixture, llama):
    keys = fixture.keys(llama.url, llama.KEY)
    for n in range(20):
        ask = ChatModel("tiny", content=f"city {n}", response_format=Place, max_tokens=300)
        assert isinstance(request_openai_api(ask, keys), Place)


def test_a_generate_of_ones_own_may_stream(fixture, llama):
    class Streams(OpenAIModel):
        def __init__(self, content):
            self.content = content

        def generate(self, client):
            pieces = client.chat.completions.create(
                model="tiny",
                messages=[{"role": "user", "content": self.content}],
                max_tokens=20,
                stream=True,
                extra_body=LETTERS,
            )
            return [piece.choices[0].delta.content or "" for piece in pieces if piece.choices]

    class StreamsFiles(Hooks):
        def process_data(self, data):
            return request_openai_api(Streams(data))

    fixture.inputs(8)
    summary = fixture.run(fixture.keys(llama.url, llama.KEY), StreamsFiles)
    assert (summary.done, summary.calls.answered) == (8, 8)
    for pieces in fixture.outputs().values():
        assert "".join(pieces).isalpha()
        assert len(pieces) > 3


def test_embeddings_are_those_that_the_openai_package_gets(fixture, llama):
    keys = fixture.keys(llama.url, llama.KEY)
    with openai.OpenAI(base_url=llama.url, api_key=llama.KEY) as client:
        for texts in ("one text", ["one text", "another"]):
            wanted = client.embeddings.create(model="tiny", input=texts, encoding_format="float")
            vectors = request_openai_api(EmbeddingModel("tiny", texts), keys)
            vectors = vectors if isinstance(texts, list) else [vectors]
            assert vectors == [row.embedding for row in wanted.data]
            assert all(math.hypot(*vector) == pytest.approx(1.0, abs=1e-4) for vector in vectors)


def test_the_responses_api_answers(fixture, llama):
    keys = fixture.keys(llama.url, llama.KEY)
    reply = request_reply(ResponsesModel("tiny", "hello", max_output_tokens=20, **LETTERS), keys)
    assert reply.text.isalpha()
    assert reply.usage.completion_tokens == reply.raw["usage"]["output_tokens"] > 3


class Says(ChatModel):
    """Can be answered in one way only."""

    def __init__(self, content, prompt):
        super().__init__("tiny", content=content, prompt=prompt, grammar=f'root ::= "{content}"')


def test_a_list_of_prompts_is_answered_in_order(fixture, llama):
    keys = fixture.keys(llama.url, llama.KEY)
    words = [f"word {n}" for n in range(40)]
    rows = [("Repeat.", word) for word in words]
    assert multi_process_one(rows, Says, threads=12, keys=keys) == words


def test_a_queue_of_ready_made_requests_gets_raw_responses(llama):
    requests = [
        {
            "model": "tiny",
            "messages": [{"role": "user", "content": "which?"}],
            "grammar": f'root ::= "{n}"',
        }
        for n in range(10)
    ]
    url, headers = f"{llama.url}/chat/completions", {"Authorization": f"Bearer {llama.KEY}"}
    out = asyncio.run(ApiQueue(url, headers, requests).run())
    assert [response["choices"][0]["message"]["content"] for response in out] == list("0123456789")
