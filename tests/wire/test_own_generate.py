"""Models whose `generate` is the user's own: each request under the key that was lent for it."""

from collections import Counter

import pytest
from wire_fixture import MODEL, Ask, question, until

from openai_parallel_toolkit import (
    APIKeyManager,
    Gpt35Turbo,
    IncompleteAnswer,
    OpenAIModel,
    arequest_openai_api,
    multi_process_one,
    request_openai_api,
    request_reply,
)
from openai_parallel_toolkit.simulator import Fault, SimKey

pytestmark = pytest.mark.usefixtures("openai_module")
KEYS = ["a", "b", "c", "d", "e"]


class ThroughModule(OpenAIModel):
    """Calls the module-level client, as programs of old do."""

    def __init__(self, content, model=MODEL):
        self.content = content
        self.model = model

    def generate(self):
        import openai

        messages = [{"role": "user", "content": self.content}]
        reply = openai.chat.completions.create(model=self.model, messages=messages)
        return reply.choices[0].message.content


class ThroughClient(ThroughModule):
    """Gets a client."""

    def generate(self, client):
        messages = [{"role": "user", "content": self.content}]
        reply = client.chat.completions.create(model=self.model, messages=messages)
        return reply.choices[0].message.content


def asking(model, *, is_async=False):
    """Hooks that ask one model a file; its number is the model's name, to be found in the bill."""

    class Asks(Ask):
        def process_data(self, data):
            return request_openai_api(model(data, model=f"model-{number_in(data)}"))

    class AsksAsync(Asks):
        async def process_data(self, data):
            return await arequest_openai_api(model(data, model=f"model-{number_in(data)}"))

    return AsksAsync if is_async else Asks


def number_in(data):
    return int(data.split(":")[0].rpartition(" ")[2])


@pytest.mark.parametrize("is_async", [False, True], ids=["blocking", "async"])
@pytest.mark.parametrize("model", [ThroughModule, ThroughClient])
def test_fifty_threads_over_five_keys_each_send_under_the_key_lent_to_them(
    fixture, model, is_async, request
):
    files = 1_000 if request.config.getoption("--full") else 200
    sim = fixture.simulate(*KEYS, latency=0.02)
    fixture.inputs(files).configure(sim)
    summary = fixture.run(asking(model, is_async=is_async), num_threads=50)
    assert (summary.done, summary.calls.sent, sim.ledger.billed()) == (files, files, files)
    hits = Counter(row.key for row in sim.ledger.rows())
    assert hits == {name: figures.sent for name, figures in summary.calls.by_key.items()}
    assert set(hits) == set(KEYS)
    billed_to = {row.model: row.key for row in sim.ledger.rows()}
    with fixture.journal() as journal:
        attempts = [journal.file(f"f{n:03}.txt").attempts for n in range(files)]
    lent = {only.model: only.key_name for (only,) in attempts}
    assert lent == billed_to


@pytest.mark.parametrize("model", [ThroughModule, ThroughClient])
def test_its_answers_are_replayed(fixture, model):
    sim = fixture.simulate(*KEYS)
    fixture.inputs(5).configure(sim)
    fixture.run(asking(model))
    before = fixture.outputs()
    for path in fixture.output.glob("*.json"):
        path.unlink()
    summary = fixture.run(asking(model))
    assert fixture.outputs() == before
    assert (summary.calls.sent, summary.calls.replayed, sim.ledger.billed()) == (0, 5, 5)


def test_whatever_generate_returns_is_handed_on(fixture):
    class Returns(OpenAIModel):
        def __init__(self, value):
            self.value = value

        def generate(self):
            return self.value

    keys = APIKeyManager(config_path=fixture.configure(fixture.simulate()).config)
    own = object()
    for value in ("text", "", 0, None, 1.5, [1, "a"], {"a": [None]}, True, own, b"bytes"):
        assert request_openai_api(Returns(value), keys) == value
    assert request_reply(Returns("text"), keys).text == "text"
    assert request_openai_api(Returns("  stripped\n"), keys) == "stripped"


def test_a_built_in_model_that_overrides_generate_is_asked_by_it_in_lists_too(fixture):
    class Shouting(Gpt35Turbo):
        def generate(self):
            import openai

            messages = [{"role": "user", "content": self.content.upper()}]
            return openai.chat.completions.create(
                model="gpt-4", messages=messages, temperature=self.temperature
            )

    sim = fixture.simulate()
    keys = APIKeyManager(config_path=fixture.configure(sim).config)
    assert request_openai_api(Shouting("one", "two", 0.5), keys) == "ONE"
    data = [("", "three"), ("", "four")]
    assert multi_process_one(data, Shouting, keys=keys, temperature=0.5) == ["THREE", "FOUR"]
    assert [row.model for row in sim.ledger.rows()] == ["gpt-4"] * 3
    keys.close()


@pytest.mark.parametrize("most", [None, 1], ids=["whole", "cut"])
def test_what_openai_returns_is_read_as_the_answer_of_a_built_in_model(fixture, most):
    class Chat(ThroughModule):
        def generate(self, client):
            messages = [{"role": "user", "content": self.content}]
            return client.chat.completions.create(
                model=self.model, messages=messages, max_tokens=most
            )

    class Response(ThroughModule):
        def generate(self, client):
            return client.responses.create(
                model=self.model, input=self.content, max_output_tokens=most
            )

    keys = APIKeyManager(config_path=fixture.configure(fixture.simulate()).config)
    for kind in (Chat, Response):
        if most is None:
            assert request_openai_api(kind("hello you"), keys) == "hello you"
            continue
        with pytest.raises(IncompleteAnswer):
            request_openai_api(kind("hello you"), keys)
        assert request_openai_api(kind("hello you"), keys, allow_incomplete=True) == "hell"


@pytest.mark.parametrize("given", ["a text", ["two", "texts"]], ids=["one", "list"])
def test_embeddings_that_openai_returns_are_read_as_vectors(fixture, given):
    class Embeds(OpenAIModel):
        def generate(self, client):
            return client.embeddings.create(model="text-embedding-3-small", input=given)

    keys = APIKeyManager(config_path=fixture.configure(fixture.simulate()).config)
    found = request_openai_api(Embeds(), keys)
    assert len(found) == (1536 if isinstance(given, str) else 2)


@pytest.mark.parametrize("model", [ThroughModule, ThroughClient])
@pytest.mark.parametrize(
    "dead", [SimKey("dead", quota="none"), SimKey("dead", valid=False)], ids=["quota", "401"]
)
def test_a_dead_key_inside_generate_is_dropped_after_one_hit(fixture, model, dead):
    sim = fixture.simulate(dead, "good")
    summary = fixture.inputs(6).configure(sim).run(asking(model), num_threads=1)
    assert (summary.done, sim.ledger.hits("dead"), sim.ledger.billed("good")) == (6, 1, 6)
    assert {key.name: key.state for key in summary.keys}["dead"] == "dropped"


@pytest.mark.parametrize("kind", ["cut_body", "broken_json", "reset_during"])
@pytest.mark.parametrize("model", [ThroughModule, ThroughClient])
def test_a_lost_answer_inside_generate_is_bought_once_more_at_most(fixture, model, kind):
    sim = fixture.simulate(faults=[Fault(kind)])
    summary = fixture.inputs(2).configure(sim).run(asking(model))
    kinds = {line["kind"] for line in fixture.failures(summary)}
    assert sim.ledger.hits() <= 4
    assert summary.failed == 2
    assert kinds == {"OutcomeUnknown"}
    assert summary.calls.sent == sim.ledger.hits()
    assert sim.ledger.billed() <= summary.calls.answered + summary.calls.unknown


@pytest.mark.parametrize("model", [ThroughModule, ThroughClient])
def test_overloads_and_limits_inside_generate_are_the_toolkits_to_handle(fixture, model):
    faults = [
        Fault("503", at=[1], retry_after=0.01),
        Fault("429", at=[2], retry_after=0.05),
        Fault("400", marker="file 1:"),
    ]
    sim = fixture.simulate(faults=faults)
    summary = fixture.inputs(3).configure(sim).run(asking(model), num_threads=1)
    assert (summary.done, summary.failed, sim.ledger.hits()) == (2, 1, 5)
    assert fixture.failures(summary)[0]["kind"] == "RequestRejected"


def test_a_users_own_exception_in_generate_fails_its_file_and_nothing_else(fixture):
    class Breaks(ThroughModule):
        def generate(self):
            if "file 1:" in self.content:
                raise ZeroDivisionError("mine")
            return super().generate()

    sim = fixture.simulate()
    summary = fixture.inputs(4).configure(sim).run(asking(Breaks))
    assert (summary.done, summary.failed, sim.ledger.hits()) == (3, 1, 3)
    (line,) = fixture.failures(summary)
    assert (line["kind"], line["message"]) == ("ZeroDivisionError", "mine")
    assert "in generate" in line["trace"]
    with fixture.journal() as journal:
        kept = journal.status().totals.this_run
    assert (kept.sent, kept.unanswered) == (summary.calls.sent, 0) == (3, 0)


@pytest.mark.parametrize(
    ("removed", "instead"),
    [("ChatCompletion", "openai.chat.completions.create"), ("Embedding", "embeddings.create")],
)
def test_a_call_that_openai_removed_is_answered_with_the_line_to_write(fixture, removed, instead):
    class OfOld(OpenAIModel):
        def generate(self):
            import openai

            return getattr(openai, removed).create(model="gpt-4", messages=[])

    class AsksIt(Ask):
        def process_data(self, data):
            return request_openai_api(OfOld())

    sim = fixture.simulate()
    summary = fixture.inputs(1).configure(sim).run(AsksIt)
    (line,) = fixture.failures(summary)
    assert line["kind"] == "UsageError"
    assert instead in line["message"]
    assert sim.ledger.hits() == 0


def test_it_runs_outside_a_toolkit_too(fixture):
    sim = fixture.simulate()
    keys = APIKeyManager(config_path=fixture.configure(sim).config)
    assert request_openai_api(ThroughModule("hello"), keys)
    assert request_openai_api(ThroughClient("hello"), keys)
    assert sim.ledger.billed("good") == 2


def test_what_is_asked_inside_generate_belongs_to_the_file_as_well(fixture):
    class Drafts(OpenAIModel):
        def __init__(self, content):
            self.content = content

        def generate(self):
            return "better: " + request_openai_api(question(self.content))

    class Asks(Ask):
        def process_data(self, data):
            return request_openai_api(Drafts(data))

    class AsksAsync(Ask):
        async def process_data(self, data):
            return await arequest_openai_api(Drafts(data))

    sim = fixture.simulate("a", "b")
    fixture.inputs(3).configure(sim)
    assert fixture.run(Asks).calls.answered == 3
    assert fixture.run(AsksAsync, force=True).calls.sent == 0
    assert sim.ledger.billed() == 3


def test_a_generate_that_is_cut_off_by_the_stop_leaves_no_output(fixture):
    """The last key dies while another thread waits for a key."""
    sim = fixture.simulate(SimKey("short", quota=2), latency=0.02)
    from openai_parallel_toolkit import NoUsableKey

    with pytest.raises(NoUsableKey) as caught:
        fixture.inputs(8).configure(sim).run(asking(ThroughClient), num_threads=4)
    assert caught.value.summary.done == len(fixture.outputs()) == 2
    until(lambda: sim.ledger.billed() == 2)
