"""Calls by themselves: outside any toolkit, from many threads and loops, and beside the hooks."""

import asyncio
import contextvars
import gc
import json
import threading
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from wire_fixture import Ask, payload_of, question, until

from openai_parallel_toolkit import (
    APIKeyManager,
    ChatModel,
    FakeTransport,
    Gpt35Turbo,
    OpenAIModel,
    RequestFailed,
    RequestRejected,
    UsageError,
    arequest_openai_api,
    arequest_reply,
    request_openai_api,
    request_reply,
)
from openai_parallel_toolkit.simulator import Fault, SimKey


@pytest.fixture
def environment(fixture, monkeypatch):
    """A simulator that the environment names, as a user's shell would."""
    sim = fixture.simulate()
    monkeypatch.setenv("OPENAI_API_KEY", "sim-good")
    monkeypatch.setenv("OPENAI_BASE_URL", sim.url)
    return sim


def test_two_lines_are_enough(environment):
    answer = request_openai_api(Gpt35Turbo(content="hello"))
    assert answer
    assert answer == answer.strip()
    assert environment.ledger.billed() == 1


def test_two_async_lines_are_enough_in_one_loop_after_another(environment):
    first = asyncio.run(arequest_openai_api(question("hello")))
    second = asyncio.run(arequest_openai_api(question("hello")))
    assert first == second == request_openai_api(question("hello"))
    assert environment.ledger.billed() == 3


def test_loops_that_are_over_are_let_go(environment):
    async def ask():
        await arequest_openai_api(question("hello"))
        return weakref.ref(asyncio.get_running_loop())

    refs = [asyncio.run(ask()) for _ in range(4)]
    gc.collect()
    assert sum(ref() is not None for ref in refs) <= 1


def test_many_threads_at_once_each_get_their_own_answer(environment):
    prompts = [f"prompt {n}" for n in range(50)]
    start = threading.Barrier(50)
    got = {}

    def ask(prompt):
        start.wait(30)
        got[prompt] = request_openai_api(question(prompt))

    threads = [threading.Thread(target=ask, args=(prompt,)) for prompt in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert environment.ledger.billed() == 50
    assert got == {prompt: request_openai_api(question(prompt)) for prompt in prompts}


def test_many_tasks_at_once_each_get_their_own_answer(environment):
    prompts = [f"prompt {n}" for n in range(200)]

    async def ask_all():
        return await asyncio.gather(*(arequest_openai_api(question(p)) for p in prompts))

    got = asyncio.run(ask_all())
    assert environment.ledger.billed() == 200
    assert got[::40] == [request_openai_api(question(p)) for p in prompts[::40]]


def test_explicit_keys_win_over_the_default_ones(fixture, environment):
    other = fixture.simulate("other")
    keys = APIKeyManager(["sim-other"], settings=None)
    keys = APIKeyManager(config_path=fixture.configure(other).config)
    request_openai_api(question("hello"), keys)
    request_openai_api(question("hello"), keys=keys)
    assert (other.ledger.billed(), environment.ledger.billed()) == (2, 0)


def test_a_config_may_be_named_in_the_call_and_is_opened_once(fixture):
    sim = fixture.simulate()
    path = str(fixture.configure(sim).config)
    request_openai_api(question("first"), config_path=path)
    threads = threading.active_count()
    for n in range(5):
        request_openai_api(question(f"hello {n}"), config_path=path)
    assert sim.ledger.billed() == 6
    assert threading.active_count() <= threads


def test_max_retries_of_a_call_wins(fixture):
    sim = fixture.simulate(faults=[Fault("500", retry_after=0.01)])
    keys = APIKeyManager(config_path=fixture.configure(sim).config)
    for retries in (0, 2):
        with pytest.raises(RequestFailed) as caught:
            request_openai_api(question("hello"), keys, max_retries=retries)
        assert caught.value.attempts == retries + 1
    assert sim.ledger.hits() == 4


def test_on_error_none_gives_none_for_failed_requests_only(fixture):
    sim = fixture.simulate(
        faults=[Fault("400", marker="bad"), Fault("empty_content", marker="empty")]
    )
    keys = APIKeyManager(config_path=fixture.configure(sim).config)
    assert request_openai_api(question("bad"), keys, on_error="none") is None
    assert request_openai_api(question("empty"), keys, on_error="none") is None
    assert asyncio.run(arequest_openai_api(question("bad"), keys, on_error="none")) is None
    assert request_openai_api(question("good"), keys, on_error="none")
    with pytest.raises(UsageError):
        request_openai_api("bad", keys, on_error="none")


def test_a_reply_tells_what_was_used_and_what_it_cost(fixture):
    sim = fixture.simulate()
    keys = APIKeyManager(config_path=fixture.configure(sim).config)
    reply = request_reply(question("hello"), keys)
    (row,) = sim.ledger.rows()
    assert reply.usage.prompt_tokens == row.prompt_tokens
    assert reply.usage.completion_tokens == row.completion_tokens
    assert reply.finish_reason == "stop"
    assert reply.cost_usd > 0
    assert not reply.is_replay
    assert reply.raw["choices"][0]["message"]["content"] == reply.text
    assert asyncio.run(arequest_reply(question("hello"), keys)).text == reply.text


def test_an_asker_that_has_gone_away_disturbs_nobody(fixture, caplog):
    sim = fixture.simulate(faults=[Fault("slow", marker="hello", seconds=1.5)])
    keys = APIKeyManager(config_path=fixture.configure(sim).config)

    async def ask():
        await asyncio.wait_for(arequest_openai_api(question("hello"), keys), 0.05)

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(ask())
    until(lambda: keys.counts().in_flight == 0)
    request_openai_api(question("and now"), keys)
    gc.collect()
    assert "never retrieved" not in caplog.text


@pytest.mark.parametrize("model", ["gpt-4", None, Gpt35Turbo, {"model": "gpt-4"}])
def test_what_is_no_model_is_refused_by_name(fixture, model):
    with pytest.raises(UsageError, match="expected a model such as"):
        request_openai_api(model)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (lambda: Gpt35Turbo(content="half \ud83d"), "half a character"),
        (lambda: Gpt35Turbo(content="fine", prompt="a \udcff byte"), "half a character"),
        (lambda: Gpt35Turbo(content="nul \0 here"), "NUL"),
        (lambda: ChatModel("gpt-4", content="x", **{"nul\0key": 1}), "NUL"),
        (lambda: Gpt35Turbo(content="x", temperature=float("nan")), "JSON"),
        (lambda: Gpt35Turbo(content="x", temperature=float("inf")), "JSON"),
        (lambda: ChatModel("gpt-4", content=object()), "JSON"),
        (lambda: ChatModel("", content="x"), "model name"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_a_key_is_taken(fixture, model, told):
    sim = fixture.simulate(SimKey("good", rpm=60))
    keys = APIKeyManager(config_path=fixture.configure(sim).config)
    with pytest.raises(UsageError, match=told):
        request_openai_api(model(), keys)
    with pytest.raises(UsageError, match=told):
        asyncio.run(arequest_openai_api(model(), keys))
    assert sim.ledger.hits() == 0
    assert (keys.counts().in_flight, keys.status()[0].requests) == (0, 0)


@pytest.mark.parametrize("text", [r"a literal \u0000", r"two \\u0000", "an \x1b and \x7f", "é 😀"])
def test_what_only_looks_odd_is_sent(fixture, text):
    sim = fixture.simulate()
    keys = APIKeyManager(config_path=fixture.configure(sim).config)
    assert request_openai_api(question(text), keys)
    assert sim.ledger.rows()[0].payload == payload_of(text)


# Beside the hooks


class AskOnThreads(Ask):
    """Asks on threads of its own, which know nothing of the file."""

    def process_data(self, data):
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(request_openai_api, [question(data), question(data + "!")]))


class AskOnCarefulThreads(Ask):
    """Takes the context along, as the warning says."""

    def process_data(self, data):
        def ask(text):
            return request_openai_api(question(text))

        with ThreadPoolExecutor(2) as pool:
            asks = [
                pool.submit(contextvars.copy_context().run, ask, text)
                for text in (data, data + "!")
            ]
            return [ask.result() for ask in asks]


def rerun(fixture, kind):
    """Take the outputs away and run again: what was kept is replayed."""
    for path in fixture.output.glob("*.json"):
        path.unlink()
    return fixture.run(kind)


def test_a_call_on_a_hooks_own_thread_is_sent_and_warned_of_once_but_not_kept(fixture, caplog):
    sim = fixture.simulate()
    fixture.inputs(4).configure(sim)
    assert fixture.run(AskOnThreads).done == 4
    said = [r.getMessage() for r in caplog.records if "outside the hooks" in r.getMessage()]
    assert len(said) == 1
    assert "CarryingPool" in said[0]
    before, billed = fixture.outputs(), sim.ledger.billed()
    summary = rerun(fixture, AskOnThreads)
    assert fixture.outputs() == before
    assert summary.calls.replayed == 0
    assert (billed, sim.ledger.billed()) == (8, 16)


def test_a_call_on_a_thread_that_carries_the_context_is_kept(fixture, caplog):
    sim = fixture.simulate()
    fixture.inputs(4).configure(sim)
    assert fixture.run(AskOnCarefulThreads).calls.answered == 8
    assert "outside the hooks" not in caplog.text
    summary = rerun(fixture, AskOnCarefulThreads)
    assert (summary.calls.sent, summary.calls.replayed, sim.ledger.billed()) == (0, 8, 8)


def test_calls_outside_a_run_are_not_warned_of(environment, caplog):
    request_openai_api(question("hello"))
    assert caplog.text == ""


def test_equal_calls_that_run_side_by_side_keep_their_order_on_a_rerun(fixture):
    """The k-th equal call gets the k-th answer, whichever came first."""

    class Sample(Ask):
        async def process_data(self, data):
            calls = [arequest_openai_api(question(data)) for _ in range(6)]
            return await asyncio.gather(*calls)

    asked = Counter()

    async def answer(request, lease):
        asked[request.hash] += 1
        place = asked[request.hash] - 1
        await asyncio.sleep(0.02 * (6 - place))
        return str(place)

    sim = fixture.simulate()
    fixture.inputs(3).configure(sim)
    assert fixture.run(Sample, transport=FakeTransport(answer)).done == 3
    before = fixture.outputs()
    assert [json.loads(output) for output in before.values()] == [[*"012345"]] * 3
    summary = rerun(fixture, Sample)
    assert (summary.calls.replayed, summary.calls.sent) == (18, 0)
    assert fixture.outputs() == before


@pytest.mark.parametrize("count", [40])
def test_models_of_ones_own_wait_side_by_side_in_async_hooks(fixture, count):
    together = threading.Barrier(count)

    class Meets(OpenAIModel):
        def __init__(self, data):
            self.data = data

        def generate(self):
            together.wait(30)
            return "met"

    class AskOwn(Ask):
        async def process_data(self, data):
            return await arequest_openai_api(Meets(data))

    sim = fixture.simulate()
    summary = fixture.inputs(count).configure(sim).run(AskOwn, num_threads=count)
    assert summary.done == count


def test_a_refusal_reaches_an_async_hook_as_it_does_a_blocking_one(fixture):
    class Handles(Ask):
        async def process_data(self, data):
            try:
                return await arequest_openai_api(question(data))
            except RequestRejected as exc:
                return exc.code

    sim = fixture.simulate(faults=[Fault("400")])
    assert fixture.inputs(1).configure(sim).run(Handles).done == 1
    assert fixture.outputs() == {"f000.json": b'"invalid_value"'}
