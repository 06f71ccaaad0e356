"""The provider's own bill and what a run tells agree to the cent, or the run says: unknown."""

import asyncio
import threading
from decimal import Decimal

import pytest
from money_fixture import Sums

from openai_parallel_toolkit import (
    APIKeyManager,
    ApiQueue,
    BatchOptions,
    BudgetExceeded,
    ChatModel,
    ResponsesModel,
    request_openai_api,
)
from openai_parallel_toolkit.journal import JournalReader
from openai_parallel_toolkit.simulator import SimKey, Simulator
from openai_parallel_toolkit.simulator.usage_forms import USAGE_FORMS

UNKNOWN = {"null", "empty", "missing", "zeros", "nonsense"}
#: USD per million tokens.
PRICE = {
    "input": 500,
    "output": 1500,
    "cached": 50,
    "cache_write": 625,
    "audio_input": 4000,
    "audio_output": 8000,
    "tiers": {"flex": {"input": 250, "output": 750}, "priority": {"input": 900, "output": 2700}},
}


def bill_usd(sim):
    """What the ledger charges, line by line, USD."""
    return sum((row_usd(row) for row in sim.ledger.rows() if row.billed), Decimal(0))


def row_usd(row):
    price = {**PRICE, **PRICE["tiers"].get(row.service_tier, {})}
    plain = row.prompt_tokens - row.cached_tokens - row.cache_write_tokens - row.audio_prompt_tokens
    cost = (
        plain * price["input"]
        + row.cached_tokens * price["cached"]
        + row.cache_write_tokens * price["cache_write"]
        + row.audio_prompt_tokens * price["audio_input"]
        + (row.completion_tokens - row.audio_completion_tokens) * price["output"]
        + row.audio_completion_tokens * price["audio_output"]
    )
    return Decimal(cost) / (2_000_000 if row.batch else 1_000_000)


def asking(kind=ChatModel, **parameters):
    """A toolkit that asks one thing of each file."""

    class Asks(Sums):
        def process_data(self, text):
            return request_openai_api(kind("m", content=text, **parameters))

    return Asks


def simulator(form="openai", **settings):
    return Simulator([SimKey("a")], usage_forms={"m": form}, **settings)


@pytest.mark.parametrize("kind", [ChatModel, ResponsesModel])
@pytest.mark.parametrize("form", sorted(USAGE_FORMS))
def test_for_each_form_of_usage_the_bill_and_the_summary_agree_or_it_is_unknown(place, form, kind):
    with simulator(form) as sim:
        place.inputs(5).configure(sim, prices={"m": PRICE})
        summary = place.toolkit(asking(kind)).run()
        told = summary.as_dict()["calls"]
        if form in UNKNOWN:
            assert told["cost_usd"] is None
            assert "5 answered (5 without usage)" in str(summary)
            assert "tokens unknown; cost unknown, at most $" in str(summary)
            assert summary.max_cost_usd >= bill_usd(sim) > 0
        else:
            assert Decimal(told["cost_usd"]) == Decimal(told["max_cost_usd"]) == bill_usd(sim) > 0


@pytest.mark.parametrize("form", ["openai", "reasoning_beside", "anthropic", "audio", "null"])
def test_a_batch_is_billed_at_half_in_each_form(place, form):
    quick = BatchOptions(poll_s=0.05, longest_poll_s=0.1, listed_within_s=0.1, believed_s=2)
    with simulator(form, batch_seconds=0.05) as sim:
        place.inputs(3).configure(sim, prices={"m": PRICE})
        summary = place.toolkit(asking(), mode="batch", batch=quick).run()
        assert summary.done == 3
        if form in UNKNOWN:
            assert summary.as_dict()["calls"]["cost_usd"] is None
            assert summary.max_cost_usd >= bill_usd(sim) > 0
        else:
            assert summary.cost_usd == bill_usd(sim) > 0


@pytest.mark.parametrize("tier", ["auto", "default", "flex", "priority", "scale"])
def test_a_service_tier_is_billed_at_its_own_price_or_unknown(place, tier):
    with simulator() as sim:
        place.inputs(3).configure(sim, prices={"m": PRICE})
        told = place.toolkit(asking(service_tier=tier)).run().as_dict()["calls"]
        if tier == "scale":
            assert told["cost_usd"] is None
        else:
            assert Decimal(told["cost_usd"]) == bill_usd(sim) > 0


def test_what_was_replayed_is_not_billed_and_costs_nothing(place):
    with simulator("null") as sim:
        place.inputs(2).configure(sim, prices={"m": PRICE})
        place.toolkit(asking()).run()
        again = place.toolkit(asking(), force=True).run()
        assert (again.calls.replayed, again.calls.sent) == (2, 0)
        assert again.max_cost_usd == 0


def test_a_cap_counts_answers_without_usage_at_their_most(place):
    with simulator("missing", latency=0.01) as sim:
        place.inputs(40).configure(sim, prices={"m": PRICE})
        with pytest.raises(BudgetExceeded) as caught:
            place.toolkit(asking(max_tokens=300), max_cost=5).run()
        assert bill_usd(sim) <= caught.value.summary.funds.spent_usd <= 5


def test_a_cap_holds_though_replies_are_longer_than_their_limit(place):
    with simulator("reasoning_beside") as sim:
        place.inputs(60).configure(sim, prices={"m": PRICE})
        with pytest.raises(BudgetExceeded):
            place.toolkit(asking(max_tokens=20), max_cost=5, num_threads=2).run()
        assert 3 < bill_usd(sim) <= 5


# Calls that belong to no file


def on_a_plain_thread(work):
    """Do it on a thread that knows of no file; return what it raised."""
    raised = []

    def run():
        try:
            work()
        except BaseException as exc:
            raised.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised[0] if raised else None


class OnThreads(Sums):
    """Asks once for the file, and once on a thread that belongs to none."""

    raised = None
    own_keys = None

    def process_data(self, text):
        loose = ChatModel("m", content=text + " (aside)", max_tokens=300)
        self.raised.append(on_a_plain_thread(lambda: request_openai_api(loose, self.own_keys)))
        return request_openai_api(ChatModel("m", content=text, max_tokens=300))


@pytest.fixture
def on_threads():
    return type("Fresh", (OnThreads,), {"raised": []})


def test_a_call_on_a_plain_thread_is_in_the_summary_of_the_run(place, on_threads):
    with simulator() as sim:
        place.inputs(4).configure(sim, prices={"m": PRICE})
        summary = place.toolkit(on_threads).run()
        assert sim.ledger.billed() == summary.calls.answered == 8
        assert summary.cost_usd == bill_usd(sim)
        with JournalReader(str(place.output / ".openai_parallel_toolkit")) as reader:
            assert reader.status().totals.all_runs.cost_usd == bill_usd(sim)


@pytest.mark.parametrize("has_own_keys", [False, True])
def test_a_call_on_a_plain_thread_is_held_to_the_cap_of_the_run_and_of_later_ones(
    place, on_threads, has_own_keys
):
    with simulator(latency=0.01) as sim:
        place.inputs(60).configure(sim, prices={"m": PRICE})
        if has_own_keys:
            on_threads.own_keys = APIKeyManager(config_path=str(place.config))
        for cap in (5, 8):
            with pytest.raises(BudgetExceeded) as caught:
                place.toolkit(on_threads, max_cost=cap, num_threads=20).run()
            assert cap - 2 < bill_usd(sim) <= caught.value.summary.funds.spent_usd <= cap
        assert any(isinstance(error, BudgetExceeded) for error in on_threads.raised)
        if on_threads.own_keys:
            on_threads.own_keys.close()


def test_a_plain_thread_uses_the_keys_of_the_run_though_another_manager_was_made_first(
    place, on_threads
):
    with simulator() as sim, simulator() as other:
        first = APIKeyManager([{"key": "sim-a", "api_base": other.url}])
        place.inputs(1).configure(sim, prices={"m": PRICE})
        summary = place.toolkit(on_threads).run()
        assert (summary.calls.sent, sim.ledger.billed(), other.ledger.billed()) == (2, 2, 0)
        first.close()


def test_a_model_without_a_price_is_refused_on_a_plain_thread_too(place, on_threads):
    class Unpriced(Sums):
        def process_data(self, text):
            error = on_a_plain_thread(lambda: request_openai_api(ChatModel("n", content=text)))
            return [str(error)]

    with simulator() as sim:
        place.inputs(1).configure(sim, prices={"m": PRICE})
        place.toolkit(Unpriced, max_cost=5).run()
        assert sim.ledger.hits() == 0
    (output,) = place.output.glob("*.json")
    assert "'n'" in output.read_text()


def test_after_the_run_a_call_belongs_to_nobody(place):
    with simulator() as sim:
        place.inputs(1).configure(sim, prices={"m": PRICE})
        place.toolkit(asking(max_tokens=9), max_cost=5).run()
        keys = APIKeyManager(config_path=str(place.config))
        error = on_a_plain_thread(
            lambda: request_openai_api(ChatModel("n", content="no price, no cap"), keys)
        )
        keys.close()
    assert error is None


def test_what_has_no_price_at_all_is_refused_while_a_cap_is_on(place):
    class Queues(Sums):
        def process_data(self, text):
            body = {"model": "m", "messages": [{"role": "user", "content": text}]}
            queue = ApiQueue(
                f"{sim.url}/chat/completions", {"Authorization": "Bearer sim-a"}, [body]
            )
            return asyncio.run(queue.run())

    with simulator() as sim:
        place.inputs(1).configure(sim, prices={"m": PRICE})
        summary = place.toolkit(Queues, max_cost=5, num_threads=1).run()
        assert (summary.failed, sim.ledger.hits()) == (1, 0)
        assert place.toolkit(Queues).run().done == 1
    assert "max_cost" in summary.causes[0].words


def test_an_estimate_from_answers_without_usage_is_unknown(place):
    with simulator("null") as sim:
        place.inputs(8).configure(sim, prices={"m": PRICE})
        words = str(place.toolkit(asking()).estimate(sample=5))
    assert "Tokens: unknown" in words
    assert "Cost: unknown" in words
