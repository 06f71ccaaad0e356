"""What the openai package sends through the door: kept, replayed, refused, streamed, in batches."""

import asyncio
import json

import openai
import pytest
from door_fixture import MODEL, Hooks, chat, recording, user
from pydantic import BaseModel

from openai_parallel_toolkit import (
    BatchOptions,
    CarryingPool,
    Gpt35Turbo,
    NoUsableKey,
    async_openai_client,
    openai_client,
    request_openai_api,
)
from openai_parallel_toolkit.simulator import Fault, SimKey


class Answer(BaseModel):
    """What `parse` is asked for."""

    answer: str


TOOL = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {}}},
}
#: Every way of asking, each with an answer that depends on the text.
ASKS = {
    "chat": chat,
    "tools": lambda client, text: (
        client.chat.completions.create(model=MODEL, messages=user(text), tools=[TOOL])
        .choices[0]
        .message.content
    ),
    "parse": lambda client, text: (
        client.chat.completions.parse(model=MODEL, messages=user(text), response_format=Answer)
        .choices[0]
        .message.parsed.model_dump()
    ),
    "stream": lambda client, text: "".join(
        chunk.choices[0].delta.content or ""
        for chunk in client.chat.completions.create(model=MODEL, messages=user(text), stream=True)
    ),
    "stream helper": lambda *asked: _streamed(*asked),  # noqa: PLW0108 - defined below
    "responses": lambda client, text: client.responses.create(model=MODEL, input=text).output_text,
    "responses parse": lambda client, text: client.responses.parse(
        model=MODEL, input=text, text_format=Answer
    ).output_parsed.model_dump(),
    "embeddings": lambda client, text: (
        client.embeddings.create(model="text-embedding-3-small", input=text, dimensions=3)
        .data[0]
        .embedding
    ),
    "transcription": lambda client, text: (
        client.audio.transcriptions.create(model="whisper-1", file=recording(text)).text
    ),
    "speech": lambda client, text: (
        client.audio.speech.create(model="tts-1", voice="alloy", input=text).read().hex()
    ),
    "image": lambda client, text: (
        client.images.generate(model="gpt-image-1", prompt=text).data[0].b64_json
    ),
    "moderation": lambda client, text: (
        client.moderations.create(input=text).results[0].model_dump()["flagged"]
    ),
}
#: What the Batch API takes.
BATCHED = {*ASKS} - {"transcription", "speech"}
QUICK = {"poll_s": 0.02, "longest_poll_s": 0.1, "listed_within_s": 0.1}


def _streamed(client, text):
    with client.chat.completions.stream(model=MODEL, messages=user(text)) as stream:
        return stream.get_final_completion().choices[0].message.content


def asking(asks):
    """Hooks that ask in all the ways."""

    class Asks(Hooks):
        def process_data(self, data):
            client = openai_client()
            with CarryingPool(4) as pool:
                asked = {
                    name: pool.submit(ask, client, f"{data}, {name}") for name, ask in asks.items()
                }
            return {name: future.result() for name, future in asked.items()}

    return Asks


def test_whatever_the_package_asks_in_a_hook_is_kept_and_given_back_as_it_came(door):
    sim = door.simulate("a", "b")
    summary = door.inputs(2).run(asking(ASKS))
    assert (summary.done, sim.ledger.billed()) == (2, 2 * len(ASKS))
    before = door.outputs()
    again = door.run(asking(ASKS), force=True)
    assert (again.calls.sent, again.calls.replayed) == (0, 2 * len(ASKS))
    assert door.outputs() == before
    assert before["f000"]["chat"] == "text of file 0, chat"


def test_a_reply_is_given_back_byte_for_byte_with_its_request_id(door):
    door.simulate()
    client = openai_client(door.keys(), journal=door.root / "kept")
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=user("hello"))
    assert raw.status_code == 200
    assert raw.headers["x-request-id"].startswith("req_")
    assert raw.headers["content-type"] == "application/json"
    assert json.loads(raw.content)["choices"][0]["message"]["content"] == "hello"


def test_outside_a_toolkit_a_journal_replays_what_an_equal_script_asked(door):
    sim = door.simulate()
    replies = []
    for _ in range(2):
        keys = door.keys()
        client = openai_client(keys, journal=door.root / "kept")
        raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=user("hi"))
        replies.append((raw.content, raw.headers["x-request-id"]))
        keys.close()
    assert replies[0] == replies[1]
    assert sim.ledger.billed() == 1


def test_the_same_request_is_one_call_through_whichever_door(door):
    class Builtin(Hooks):
        def process_data(self, data):
            return request_openai_api(Gpt35Turbo(data, temperature=0.5))

    class Own(Hooks):
        def process_data(self, data):
            return (
                openai_client()
                .chat.completions.create(
                    messages=user(data), model="gpt-3.5-turbo", temperature=0.5
                )
                .choices[0]
                .message.content
            )

    sim = door.simulate()
    door.inputs(1).run(Builtin)
    assert door.run(Own, force=True).calls.replayed == sim.ledger.billed() == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("400"), openai.BadRequestError),
        (Fault("content_filter_400"), openai.BadRequestError),
        (Fault("503"), openai.InternalServerError),
        (Fault("reset_during"), openai.APIConnectionError),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_a_refusal_is_the_providers_own(door, fault, error):
    door.simulate(faults=[fault])
    with pytest.raises(error) as caught:
        chat(openai_client(door.keys(), max_retries=0), "hello")
    if fault.kind == "400":
        assert caught.value.body["message"]
        assert caught.value.request_id.startswith("req_")


def test_one_dead_key_of_three_is_dropped_and_a_limit_is_waited_for(door):
    sim = door.simulate(
        SimKey("dead", valid=False),
        "b",
        "c",
        faults=[Fault("429", at=[2], retry_after=0.05)],
    )
    client = openai_client(door.keys())
    assert [chat(client, f"text {n}") for n in range(4)] == [f"text {n}" for n in range(4)]
    assert (sim.ledger.hits("dead"), sim.ledger.billed()) == (1, 4)


def test_what_stops_the_work_is_an_error_of_ours(door):
    door.simulate(SimKey("dead", valid=False))
    with pytest.raises(NoUsableKey):
        chat(openai_client(door.keys()), "hello")


def test_what_is_only_read_goes_out_under_a_key_and_is_not_kept(door):
    sim = door.simulate(SimKey("dead", valid=False), "good")
    client = openai_client(door.keys(), journal=door.root / "kept")
    for _ in range(2):
        assert MODEL in [model.id for model in client.models.list()]
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve("file-none")
    assert sim.ledger.billed() == 0


def test_a_clients_own_headers_go_out_and_its_own_key_does_not(door):
    class Headers(Hooks):
        def process_data(self, data):
            client = openai_client(api_key="sk-mine", default_headers={"X-Mine": "1"})
            return chat(client, data)

    sim = door.simulate()
    assert door.inputs(1).run(Headers).done == 1
    assert {row.key for row in sim.ledger.rows()} == {"good"}


def test_the_async_client_is_durable_too(door):
    class Asks(Hooks):
        async def process_data(self, data):
            client = async_openai_client()
            asks = [
                client.chat.completions.create(model=MODEL, messages=user(f"{data}, {n}"))
                for n in range(5)
            ]
            replies = await asyncio.gather(*asks)
            stream = await client.chat.completions.create(
                model=MODEL, messages=user(data), stream=True
            )
            said = [chunk.choices[0].delta.content or "" async for chunk in stream]
            return [*(reply.choices[0].message.content for reply in replies), "".join(said)]

    sim = door.simulate("a", "b")
    assert door.inputs(3).run(Asks).done == 3
    assert door.outputs()["f001"] == [*(f"text of file 1, {n}" for n in range(5)), "text of file 1"]
    assert door.run(Asks, force=True).calls.sent == 0
    assert sim.ledger.billed() == 18


def test_a_blocking_client_in_an_async_hook_is_told(door):
    class Asks(Hooks):
        async def process_data(self, data):
            return chat(openai_client(), data)

    door.simulate()
    assert door.inputs(1).run(Asks).failed == 1
    assert "await" in door.failures()[0]["message"]


@pytest.mark.parametrize("is_in_generate", [False, True], ids=["hook", "pool"])
def test_module_level_calls_in_a_hook_are_durable(door, is_in_generate):
    def ask(text):
        return chat(openai, text)

    class Asks(Hooks):
        def process_data(self, data):
            if not is_in_generate:
                return ask(data)
            with CarryingPool(2) as pool:
                return list(pool.map(ask, [data, f"{data} again"]))

    sim = door.simulate()
    assert door.inputs(2).run(Asks).done == 2
    assert door.run(Asks, force=True).calls.sent == 0
    assert sim.ledger.billed() == 2 + 2 * is_in_generate


def test_a_clients_own_key_is_left_alone(door):
    other = door.simulate("theirs")
    sim = door.simulate("ours")

    class Asks(Hooks):
        def process_data(self, data):
            own = openai.OpenAI(api_key=other.keys[0].secret, base_url=other.url)
            with own:
                return chat(own, data)

    assert door.inputs(1).run(Asks).calls.sent == 0
    assert (other.ledger.billed(), sim.ledger.billed()) == (1, 0)


def test_max_cost_holds_for_calls_of_threads_too(door):
    from concurrent.futures import ThreadPoolExecutor

    class Asks(Hooks):
        def process_data(self, data):
            client = openai_client()
            with ThreadPoolExecutor(4) as pool:
                return list(pool.map(lambda n: chat(client, f"{data} {n}"), range(8)))

    sim = door.simulate()
    assert door.inputs(2).run(Asks, max_cost="0.0000001").failed == 2
    assert {line["kind"] for line in door.failures()} == {"BudgetExceeded"}
    assert sim.ledger.billed() == 0


def test_in_batch_mode_all_that_the_batch_api_takes_goes_into_batches(door):
    sim = door.simulate(batch_seconds=0.05)
    summary = door.inputs(2).run(asking(ASKS), mode="batch", batch=BatchOptions(**QUICK))
    assert summary.done == 2
    lines = [row for row in sim.ledger.rows() if row.billed and row.batch]
    live = [row.path for row in sim.ledger.rows() if row.billed and not row.batch]
    assert len(lines) == 2 * len(BATCHED)
    assert len(live) == 2 * (len(ASKS) - len(BATCHED))
    batched = door.outputs()
    assert door.run(asking(ASKS), force=True).calls.sent == 0
    assert door.outputs() == batched


def _events(client, text):
    """What the events of a response came to, and what each of them added."""
    events = list(client.responses.create(model=MODEL, input=text, stream=True))
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].response.output_text == said
    return said


def _response_helper(client, text):
    with client.responses.stream(model=MODEL, input=text, text_format=Answer) as stream:
        return stream.get_final_response().output_parsed.answer


def _tool_helper(client, text):
    wanted = {"tools": [TOOL], "tool_choice": "required"}
    with client.chat.completions.stream(model=MODEL, messages=user(text), **wanted) as stream:
        (call,) = stream.get_final_completion().choices[0].message.tool_calls
    return [call.function.name, json.loads(call.function.arguments)]


def _with_usage(client, text):
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(client.chat.completions.create(model=MODEL, messages=user(text), **options))
    assert chunks[-1].usage.total_tokens > 0
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_in_batch_mode_a_stream_is_given_the_events_of_the_whole_answer(door):
    streams = {f.__name__: f for f in (_events, _response_helper, _tool_helper, _with_usage)}
    sim = door.simulate(batch_seconds=0.05)
    summary = door.inputs(1).run(asking(streams), mode="batch", batch=BatchOptions(**QUICK))
    assert summary.done == 1, door.failures()
    assert all(row.batch for row in sim.ledger.rows() if row.billed)
    said = door.outputs()["f000"]
    assert said["_events"] == "text of file 0, _events"
    assert said["_with_usage"] == "text of file 0, _with_usage"
    assert said["_tool_helper"] == ["look", {}]
    assert said["_response_helper"]


def test_the_async_client_goes_into_batches_too(door):
    class Asks(Hooks):
        async def process_data(self, data):
            client = async_openai_client()
            replies = await asyncio.gather(
                *(
                    client.chat.completions.create(model=MODEL, messages=user(f"{data}, {n}"))
                    for n in range(3)
                )
            )
            return [reply.choices[0].message.content for reply in replies]

    sim = door.simulate(batch_seconds=0.05)
    assert door.inputs(2).run(Asks, mode="batch", batch=BatchOptions(**QUICK)).done == 2
    assert sum(bool(row.batch) for row in sim.ledger.rows() if row.billed) == 6


@pytest.mark.parametrize("mode", ["live", "batch"])
def test_a_built_in_model_with_a_generate_of_its_own_sends_by_that(door, mode):
    class Louder(Gpt35Turbo):
        def generate(self, client):
            said = chat(client, self.messages[-1]["content"])
            return said.upper()

    class Asks(Hooks):
        def process_data(self, data):
            return request_openai_api(Louder(data))

    sim = door.simulate(batch_seconds=0.05)
    assert door.inputs(1).run(Asks, mode=mode, batch=BatchOptions(**QUICK)).done == 1
    assert door.outputs() == {"f000": "TEXT OF FILE 0"}
    assert [bool(row.batch) for row in sim.ledger.rows() if row.billed] == [mode == "batch"]
