"""A list of prompts: answers in order, so many at a time, and nothing that is paid for is lost."""

import asyncio
import os
import threading
import time

import pytest
from toolkit_fixture import Hooks

from openai_parallel_toolkit import (
    ChatModel,
    EmbeddingModel,
    FakeTransport,
    Gpt35Turbo,
    IncompleteAnswer,
    NoUsableKey,
    OpenAIModel,
    RequestRejected,
    ResponsesModel,
    UsageError,
    amulti_process_one,
    multi_process_one,
    request_openai_api,
)
from openai_parallel_toolkit.journal import JournalReader
from openai_parallel_toolkit.simulator import Fault, SimKey


def pairs(count, prefix="text"):
    return [("be brief", f"{prefix} {n}") for n in range(count)]


def in_loop(*args, **kwargs):
    return asyncio.run(amulti_process_one(*args, **kwargs))


BOTH = pytest.mark.parametrize("ask", [multi_process_one, in_loop], ids=["blocking", "async"])


@BOTH
def test_answers_come_in_the_order_of_the_list(fixture, ask):
    sim = fixture.simulate("a", "b", latency=0.005)
    keys = fixture.keys(sim)
    got = ask(pairs(60), Gpt35Turbo, keys=keys, temperature=0.0)
    models = [Gpt35Turbo(content=c, prompt=p, temperature=0.0) for p, c in pairs(60)]
    assert got == [request_openai_api(model, keys) for model in models]


@BOTH
def test_an_empty_list_gives_an_empty_list(fixture, ask):
    assert ask([], Gpt35Turbo, keys=fixture.keys(fixture.simulate())) == []


@BOTH
def test_embeddings_of_a_list_are_vectors_in_its_order(fixture, ask):
    sim = fixture.simulate()
    keys = fixture.keys(sim)
    texts = [f"text {n}" for n in range(5)]
    shared = {"model": "text-embedding-3-small", "dimensions": 4}
    got = ask([("", text) for text in texts], EmbeddingModel, keys=keys, **shared)
    assert got == request_openai_api(EmbeddingModel(input=texts, **shared), keys)
    with pytest.raises(UsageError, match="an embedding has no prompt"):
        ask(pairs(1), EmbeddingModel, keys=keys, **shared)


@BOTH
def test_a_prompt_is_the_instructions_of_a_response(fixture, ask):
    sent = []
    keys = fixture.keys(fixture.simulate())

    def asked(**fields):
        sent.append(ResponsesModel("gpt-4o-mini", **fields))
        return sent[-1]

    assert ask(pairs(3), asked, keys=keys) == [content for _, content in pairs(3)]
    assert [model.payload()["instructions"] for model in sent] == ["be brief"] * 3


class Noted(OpenAIModel):
    """Answers with what it was given."""

    def __init__(self, content, prompt="", tone="plain", size=1, *, more=None):
        self.fields = [content, prompt, tone, size, more]

    def generate(self):
        return self.fields


@pytest.mark.usefixtures("openai_module")
def test_further_items_fill_the_remaining_parameters_in_the_order_of_the_signature(fixture):
    keys = fixture.keys(fixture.simulate())
    data = [("p", "c"), ["p", "c", "warm"], ("p", "c", "warm", 2), ("p", "c", "warm", 2, "x")]
    assert multi_process_one(data, Noted, keys=keys) == [
        ["c", "p", "plain", 1, None],
        ["c", "p", "warm", 1, None],
        ["c", "p", "warm", 2, None],
        ["c", "p", "warm", 2, "x"],
    ]
    assert multi_process_one([("p", "c", 2)], Noted, keys=keys, tone="shrill") == [
        ["c", "p", "shrill", 2, None]
    ]


def test_an_item_that_ends_up_as_the_model_is_told_as_that(fixture):
    sim = fixture.simulate()
    with pytest.raises(UsageError, match="its model is of type float"):
        multi_process_one([("p", "c", 0.5)], Gpt35Turbo, keys=fixture.keys(sim), temperature=0.7)
    assert sim.ledger.hits() == 0


@pytest.mark.parametrize("name", ["prompt", "content"])
def test_what_is_given_by_position_and_by_name_is_told_by_its_name(fixture, name):
    sim = fixture.simulate()
    with pytest.raises(UsageError, match=f"^{name}: given by position.* and by name too"):
        multi_process_one(pairs(1), Gpt35Turbo, keys=fixture.keys(sim), **{name: "x"})
    assert sim.ledger.hits() == 0


@BOTH
def test_keys_may_be_a_list_whose_limits_hold_from_call_to_call(fixture, ask):
    sim = fixture.simulate(SimKey("dead", valid=False), "good")
    given = [{"key": k.secret, "name": k.name, "api_base": sim.url} for k in sim.keys]
    model = Gpt35Turbo("text 0", "be brief", 0.0)
    assert request_openai_api(model, keys=given) == "text 0"
    for _ in range(3):
        assert ask(pairs(1), Gpt35Turbo, keys=[dict(key) for key in given], temperature=0.0)
    refused = [row for row in sim.ledger.rows() if row.status == 401]
    assert len(refused) == 1  # one manager for equal lists: a dead key stays dropped


@pytest.mark.parametrize("item", ["ab", ("only",), (), tuple("abcdef")])
def test_an_item_of_another_form_is_refused_before_anything_is_sent(fixture, item):
    sim = fixture.simulate()
    with pytest.raises(UsageError, match="item 1 of the list"):
        multi_process_one([("p", "c"), item], Noted, keys=fixture.keys(sim))
    assert sim.ledger.hits() == 0


def test_what_makes_no_model_and_no_threads_are_refused(fixture):
    keys = fixture.keys(fixture.simulate())
    for kind in (dict, "Gpt35Turbo", Gpt35Turbo("c")):
        with pytest.raises(UsageError, match="expected a model's class"):
            multi_process_one([("p", "c")], kind, keys=keys)
    with pytest.raises(UsageError, match="threads"):
        multi_process_one([("p", "c")], Gpt35Turbo, 0, keys=keys)


@BOTH
@pytest.mark.parametrize("threads", [1, 7])
def test_no_more_than_threads_are_in_flight(fixture, ask, threads):
    sim = fixture.simulate(latency=0.05 * threads)
    ask(pairs(15), Gpt35Turbo, threads, keys=fixture.keys(sim))
    assert sim.ledger.in_flight_peak == threads


def test_by_default_five_times_the_cpus_are_in_flight_on_no_thread_each(fixture):
    sim = fixture.simulate(latency=0.3)
    before, seen = threading.active_count(), []
    keys = fixture.keys(sim)

    def count(model=Gpt35Turbo, **fields):
        seen.append(threading.active_count())
        return model(**fields)

    multi_process_one(pairs(10 * os.cpu_count()), count, keys=keys)
    assert sim.ledger.in_flight_peak == 5 * os.cpu_count()
    assert threading.active_count() - before < 5


@BOTH
@pytest.mark.usefixtures("openai_module")
def test_a_generate_of_ones_own_runs_on_so_many_threads(fixture, ask):
    most, now, lock, six = [0], [0], threading.Lock(), threading.Barrier(6)

    class Busy(Noted):
        def generate(self):
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            six.wait(40)
            with lock:
                now[0] -= 1
            return self.fields[0]

    keys = fixture.keys(fixture.simulate())
    assert ask(pairs(30), Busy, 6, keys=keys) == [f"text {n}" for n in range(30)]
    assert most[0] == 6


@BOTH
def test_one_that_fails_does_not_lose_the_others(fixture, ask):
    sim = fixture.simulate(faults=[Fault("400", marker="text 3"), Fault("400", marker="text 7")])
    keys = fixture.keys(sim)
    with pytest.raises(RequestRejected):
        ask(pairs(10), Gpt35Turbo, 2, keys=keys)
    assert sim.ledger.billed() == 8
    got = ask(pairs(10), Gpt35Turbo, keys=keys, return_exceptions=True)
    assert [n for n, answer in enumerate(got) if isinstance(answer, RequestRejected)] == [3, 7]
    assert sum(isinstance(answer, str) for answer in got) == 8


def test_a_text_that_cannot_be_sent_fails_alone(fixture):
    keys = fixture.keys(fixture.simulate())
    data = [("", "good"), ("", "half \ud83d"), ("", "good too")]
    got = multi_process_one(data, Gpt35Turbo, keys=keys, return_exceptions=True)
    assert [type(answer) for answer in got] == [str, UsageError, str]


@pytest.mark.parametrize("kind", ["finish_length", "finish_content_filter", "empty_content"])
def test_an_answer_that_is_cut_short_is_an_error_of_its_item(fixture, kind):
    sim = fixture.simulate(faults=[Fault(kind, marker="text 1")])
    keys = fixture.keys(sim)
    got = multi_process_one(pairs(3), Gpt35Turbo, keys=keys, return_exceptions=True)
    assert [type(answer) for answer in got] == [str, IncompleteAnswer, str]
    got = multi_process_one(pairs(3), Gpt35Turbo, keys=keys, allow_incomplete=True)
    assert [type(answer) for answer in got] == [str, str, str]


def test_outside_a_toolkit_the_death_of_the_last_key_is_raised(fixture):
    sim = fixture.simulate(SimKey("short", quota=3))
    with pytest.raises(NoUsableKey):
        multi_process_one(pairs(10), Gpt35Turbo, 2, keys=fixture.keys(sim))
    assert sim.ledger.billed() == 3


def test_progress_draws_a_bar(fixture, capsys):
    multi_process_one(pairs(3), Gpt35Turbo, keys=fixture.keys(fixture.simulate()), progress=True)
    assert "3/3" in capsys.readouterr().err


def test_thousands_of_items_take_a_few_seconds(fixture, request):
    items = 10_000 if request.config.getoption("--full") else 3_000
    sim = fixture.simulate()
    since_s = time.process_time()
    got = multi_process_one(pairs(items), Gpt35Turbo, 100, keys=fixture.keys(sim))
    took_s = time.process_time() - since_s
    assert (len(got), sim.ledger.billed()) == (items, items)
    assert took_s < items * 0.004, f"{took_s} s of the processor, the server's among them"


# In hooks


class AsksMany(Hooks):
    """Asks for ten lines, two of them equal to others, and may fail after it."""

    fails = False
    model: type = Gpt35Turbo

    def lines(self, data):
        return [("", f"{n % 8} of {data}") for n in range(10)]

    def process_data(self, data):
        return multi_process_one(self.lines(data), self.model, 4)

    def process_output(self, data, output_file_without_ext):
        if self.fails:
            raise ValueError("after all was paid")
        super().process_output(data, output_file_without_ext)


class AsksManyAsync(AsksMany):
    async def process_data(self, data):
        return await amulti_process_one(self.lines(data), self.model, 4)


@pytest.mark.parametrize("kind", [AsksMany, AsksManyAsync])
def test_a_rerun_replays_every_item(fixture, kind):
    class Fails(kind):
        fails = True

    sim = fixture.simulate()
    fixture.configure(sim).inputs(3)
    assert fixture.run(Fails).failed == 3
    assert sim.ledger.billed() == 30
    summary = fixture.run(kind)
    assert (summary.done, summary.calls.sent, summary.calls.replayed) == (3, 0, 30)


def test_the_k_th_of_equal_items_gets_its_own_answer_again(fixture):
    class Counts(AsksMany):
        fails = True

        def lines(self, data):
            return [("", "the same")] * 6

    numbers = iter(range(100))
    fake = FakeTransport(lambda request, lease: f"answer {next(numbers)}")
    fixture.configure(fixture.simulate()).inputs(1)
    fixture.run(Counts, transport=fake)
    with JournalReader(str(fixture.output / ".openai_parallel_toolkit")) as journal:
        kept = {a.k: a.answer.body() for a in journal.file("f000.txt").attempts}
    Counts.fails = False
    fixture.run(Counts, transport=fake)
    (got,) = fixture.outputs().values()
    assert len(set(got)) == len(fake.sent) == 6
    assert all(got[k].encode() in body for k, body in kept.items())


def test_items_that_were_answered_before_one_failed_are_not_asked_again(fixture):
    sim = fixture.simulate(faults=[Fault("400", marker="5 of", times=1)])
    fixture.configure(sim).inputs(1)
    assert fixture.run(AsksMany).failed == 1
    summary = fixture.run(AsksMany)
    assert (summary.done, summary.calls.replayed, summary.calls.sent) == (1, 9, 1)


@pytest.mark.parametrize("is_async", [False, True], ids=["blocking", "async"])
def test_a_stop_takes_the_hook_down_once_whatever_it_catches(fixture, is_async):
    after = []

    class Catches(AsksMany):
        def process_data(self, data):
            try:
                got = multi_process_one(self.lines(data), Gpt35Turbo, 4, return_exceptions=True)
            except Exception as exc:
                got = exc
            after.append(got)

    class CatchesAsync(AsksMany):
        async def process_data(self, data):
            try:
                lines = self.lines(data)
                got = await amulti_process_one(lines, Gpt35Turbo, 4, return_exceptions=True)
            except Exception as exc:
                got = exc
            after.append(got)

    sim = fixture.simulate(SimKey("short", quota=5), latency=0.005)
    fixture.configure(sim).inputs(2)
    with pytest.raises(NoUsableKey) as caught:
        fixture.run(CatchesAsync if is_async else Catches, num_threads=1)
    assert (caught.value.summary.failed, fixture.outputs(), after) == (0, {}, [])
    with JournalReader(str(fixture.output / ".openai_parallel_toolkit")) as journal:
        assert journal.status().totals.this_run.answered == 5


@pytest.mark.parametrize("kind", [AsksMany, AsksManyAsync])
def test_a_dry_run_counts_every_item(fixture, kind):
    sim = fixture.simulate()
    fixture.configure(sim).inputs(3)
    assert fixture.run(kind, dry_run=True).would_send == 30
    assert sim.ledger.hits() == 0


@pytest.mark.usefixtures("openai_module")
@pytest.mark.parametrize("kind", [AsksMany, AsksManyAsync])
def test_a_generate_of_ones_own_is_kept_for_the_file_too(fixture, kind):
    class Drafts(OpenAIModel):
        def __init__(self, content, prompt):
            self.content = content

        def generate(self):
            return "better: " + request_openai_api(ChatModel("gpt-4", content=self.content))

    class Own(kind):
        model = Drafts
        fails = True

    sim = fixture.simulate()
    fixture.configure(sim).inputs(2)
    fixture.run(Own)
    assert sim.ledger.billed() == 20
    Own.fails = False
    assert fixture.run(Own).calls.sent == 0
    assert sim.ledger.billed() == 20


def test_an_async_hook_is_told_of_the_async_form(fixture):
    class Blocks(Hooks):
        async def process_data(self, data):
            return multi_process_one([("", data)], Gpt35Turbo)

    fixture.configure(fixture.simulate()).inputs(1)
    fixture.run(Blocks)
    assert "amulti_process_one" in fixture.failures()[0]["message"]


@pytest.mark.usefixtures("openai_module")
@pytest.mark.parametrize(
    ("raised", "seen"), [(SystemExit(3), SystemExit), (StopIteration(), RuntimeError)]
)
def test_whatever_generate_raises_ends_the_call(fixture, raised, seen):
    class Breaks(Noted):
        def generate(self):
            raise raised

    keys = fixture.keys(fixture.simulate())
    for ask in (multi_process_one, in_loop):
        with pytest.raises(seen):
            ask(pairs(2), Breaks, keys=keys)
    with pytest.raises(seen):
        request_openai_api(Breaks("c"), keys)
