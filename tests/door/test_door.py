"""What the openai package sends through the door: kept, replayed, refused, streamed, in batches."""

import asyncio
import gc
import json
import socket
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from door_fixture import MODEL, Hooks, chat, user

from openai_parallel_toolkit import (
    ApiQueue,
    AsyncDurableTransport,
    BatchOptions,
    CarryingPool,
    DurableTransport,
    Gpt35Turbo,
    NoUsableKey,
    OutcomeUnknown,
    async_openai_client,
    openai_client,
    request_openai_api,
)
from openai_parallel_toolkit.core.errors import error_behind
from openai_parallel_toolkit.simulator import Fault, SimKey
from openai_parallel_toolkit.transport.openai_http import httpx

QUICK = {"poll_s": 0.02, "longest_poll_s": 0.1, "listed_within_s": 0.1}


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


def test_what_a_failed_async_hook_has_left_running_ends_with_the_run(door, caplog):
    class Asks(Hooks):
        async def process_data(self, data):
            client = async_openai_client()
            asks = [
                client.chat.completions.create(model=MODEL, messages=user(f"{data} {word}"))
                for word in ("slow", "refused")
            ]
            return await asyncio.gather(*asks)

    faults = [Fault("slow", marker="slow", seconds=30), Fault("400", marker="refused")]
    door.simulate(faults=faults)
    assert door.inputs(1).run(Asks).failed == 1
    gc.collect()
    assert "never retrieved" not in caplog.text


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
    max_cost = 0.00004

    class Asks(Hooks):
        def process_data(self, data):
            client = openai_client()

            def ask(n):
                messages = user(f"{data} {n}")
                client.chat.completions.create(model=MODEL, messages=messages, max_tokens=20)

            with ThreadPoolExecutor(4) as pool:
                list(pool.map(ask, range(8)))

    sim = door.simulate()
    assert door.inputs(2).run(Asks, max_cost=str(max_cost)).failed
    assert {line["kind"] for line in door.failures()} == {"BudgetExceeded"}
    total = sim.ledger.summary().total
    spent = 0.15e-6 * total.prompt_tokens + 0.60e-6 * total.completion_tokens
    assert 0 < total.billed < 16
    assert 0 < spent <= max_cost


def in_thread(ask):
    """Ask from a thread that is not told which file it works for."""

    def asked(data):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(ask, data).result()

    return asked


#: What a hook may do that would send, and how many calls it is.
UNSENT = {
    "call": (lambda data: chat(openai_client(), data), 1),
    "call in a thread": (in_thread(lambda data: chat(openai_client(), data)), 1),
    "module-level call in a thread": (in_thread(lambda data: chat(openai, data)), 1),
    "built-in model in a thread": (
        in_thread(lambda data: request_openai_api(Gpt35Turbo(data))),
        1,
    ),
    "reading": (lambda data: openai_client().models.list(), 0),
    "reading in a thread": (in_thread(lambda data: openai_client().models.list()), 0),
    "deleting, async": (lambda data: asyncio.run(async_openai_client().files.delete("f")), 0),
    "queue": (
        lambda data: asyncio.run(
            ApiQueue("http://127.0.0.1:1/v1/chat/completions", {}, [{"model": MODEL}]).run()
        ),
        0,
    ),
}


@pytest.mark.parametrize("way", UNSENT)
def test_a_dry_run_sends_nothing_at_all(door, way):
    act, calls = UNSENT[way]

    class Acts(Hooks):
        def process_data(self, data):
            return act(data)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        key = {"key": "sk-none", "name": "none"}
        door.config.write_text(json.dumps({"api_keys": [key], "api_base": url}))
        door.config.chmod(0o600)
        summary = door.inputs(2).run(Acts, dry_run=True)
        assert (summary.would_send, summary.failed) == (2 * calls, 0)
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("is_async", [False, True])
def test_what_a_client_tries_again_by_itself_is_not_sent_again(door, is_async):
    sim = door.simulate(faults=[Fault("reset_during")])
    keys = door.keys()
    if is_async:

        async def ask():
            http = httpx.AsyncClient(transport=AsyncDurableTransport(keys))
            client = openai.AsyncOpenAI(api_key="none", http_client=http, max_retries=1)
            async with client:
                await client.chat.completions.create(model=MODEL, messages=user("text"))
    else:

        def ask():
            http = httpx.Client(transport=DurableTransport(keys))
            with openai.OpenAI(api_key="none", http_client=http, max_retries=1) as client:
                chat(client, "text")

    with pytest.raises(openai.APIConnectionError) as caught:
        asyncio.run(ask()) if is_async else ask()
    assert isinstance(error_behind(caught.value), OutcomeUnknown)
    assert len(sim.ledger.rows()) == 2


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
