"""max_cost: what the provider bills, by its own ledger, never passes it, whatever happens."""

import json
import signal
import subprocess
from decimal import Decimal
from pathlib import Path

import money_fixture
import pytest
from forked_process import ForkedProcess, run_forked
from money_fixture import STATE, Place, Sums, bill_usd

from openai_parallel_toolkit import (
    BudgetExceeded,
    ChatModel,
    ConfigError,
    NoUsableKey,
    OpenAIModel,
    request_openai_api,
)
from openai_parallel_toolkit.journal import JournalReader
from openai_parallel_toolkit.simulator import Fault, Latency, SimKey, Simulator

REPOSITORY = Path(__file__).parents[2]
CAP = Decimal(20)


def failures(place: Place):
    path = place.output / STATE / "failures.jsonl"
    return path.read_text() if path.exists() else ""


def all_runs(place: Place):
    with JournalReader(str(place.output / STATE)) as reader:
        return reader.status().totals.all_runs


def test_200_threads_stop_before_the_cap_and_a_higher_one_goes_on(place):
    with Simulator([SimKey("a"), SimKey("b")], latency=Latency(0.02, 0.5), seed=3) as sim:
        place.inputs(300).configure(sim)
        with pytest.raises(BudgetExceeded) as caught:
            place.toolkit(num_threads=200, max_cost=CAP).run()
        summary = caught.value.summary
        spent = bill_usd(sim)
        assert CAP - 3 < spent <= CAP
        assert summary.cost_usd == spent
        assert summary.failed == 0
        assert not failures(place)
        assert summary.funds.spent_usd <= summary.funds.cap_usd == CAP
        assert f"of ${CAP} (max_cost)" in str(summary)
        again = place.toolkit(num_threads=200, max_cost=1000).run()
        assert (again.done + summary.done, again.left) == (300, 0)
        assert sim.ledger.billed() == 600


def test_lost_answers_keep_their_maximum(place):
    faults = [Fault("cut_body", chance=0.2), Fault("500", chance=0.1), Fault("429", chance=0.1)]
    with Simulator([SimKey("a")], latency=Latency(0.01, 0.5), faults=faults, seed=5) as sim:
        place.inputs(200).configure(sim)
        with pytest.raises(BudgetExceeded) as caught:
            place.toolkit(num_threads=100, max_cost=CAP).run()
        assert caught.value.summary.calls.unknown > 0
        assert bill_usd(sim) <= CAP
        assert caught.value.summary.max_cost_usd <= CAP


@pytest.mark.crash
def test_over_three_killed_runs_and_one_more_the_cap_holds(place):
    child = str(Path(money_fixture.__file__))
    victims, to_come = [], 0

    def kill_at_last(row):
        nonlocal to_come
        to_come -= 1
        if to_come == 0:
            victims[-1].send_signal(signal.SIGKILL)

    keys, latency = [SimKey("a"), SimKey("b")], Latency(0.1, 0.5)
    with Simulator(keys, latency=latency, seed=3, on_post=kill_at_last) as sim:
        place.inputs(300).configure(sim)
        command = [child, place.config, place.input, place.output, str(CAP)]
        for kill in (1, 2, 3):
            to_come = 25
            victims.append(
                ForkedProcess(
                    command,
                    env={"PYTHONPATH": str(REPOSITORY)},
                    stderr=subprocess.PIPE,
                )
            )
            victims[-1].communicate()  # a later one may come to the cap before
            assert victims[0].returncode == -signal.SIGKILL
            assert bill_usd(sim) <= CAP, f"after kill {kill}"
        with pytest.raises(BudgetExceeded):
            place.toolkit(num_threads=200, max_cost=CAP).run()
        kept = all_runs(place)
        assert kept.unanswered > 0
        assert bill_usd(sim) <= kept.max_cost_usd <= CAP


def test_a_model_without_a_price_is_refused_before_anything_is_sent(place):
    class Unpriced(Sums):
        def process_data(self, text):
            return request_openai_api(ChatModel("mystery-9", content=text))

    with Simulator() as sim:
        place.inputs(3).configure(sim)
        with pytest.raises(ConfigError, match=r"'mystery-9'.*prices"):
            place.toolkit(Unpriced, max_cost=1).run()
        assert sim.ledger.hits() == 0
        assert not failures(place)


def test_a_generate_of_ones_own_is_held_to_a_cost_too(place):
    class Mine(OpenAIModel):
        def generate(self, client):
            messages = [{"role": "user", "content": "hello"}]
            return client.chat.completions.create(model=money_fixture.MODEL, messages=messages)

    class Own(Sums):
        def process_data(self, text):
            return request_openai_api(Mine())

    with Simulator() as sim:
        place.inputs(1).configure(sim)
        with pytest.raises(BudgetExceeded):
            place.toolkit(Own, max_cost="0.0000001").run()
        assert sim.ledger.hits() == 0


def test_a_request_that_alone_passes_the_cap_is_not_sent(place):
    with Simulator() as sim:
        place.inputs(3).configure(sim)
        with pytest.raises(BudgetExceeded, match="max_completion_tokens"):
            place.toolkit(max_cost="0.001").run()
        assert sim.ledger.hits() == 0


def test_without_a_cap_an_unpriced_model_runs_and_its_cost_is_unknown(place):
    class Unpriced(Sums):
        def process_data(self, text):
            return request_openai_api(ChatModel("mystery-9", content=text))

    with Simulator() as sim:
        place.inputs(3).configure(sim)
        summary = place.toolkit(Unpriced).run()
    assert summary.done == 3
    assert summary.as_dict()["calls"]["cost_usd"] is None
    assert "cost unknown" in str(summary)


@pytest.mark.parametrize("wrong", [-1, "much", float("nan"), float("inf")])
def test_a_cap_that_is_no_amount_is_refused(place, wrong):
    with pytest.raises(ConfigError, match="max_cost"):
        place.toolkit(max_cost=wrong)


def test_the_command_ends_with_status_6_and_tells_the_cap(place):
    with Simulator([SimKey("a")], latency=0.01) as sim:
        place.inputs(40).configure(sim)
        target = f"{Path(money_fixture.__file__)}:Sums"
        words = ["run", target, place.input, place.output, "--config", place.config, "--json"]
        command = ["-m", "openai_parallel_toolkit", *words, "--max-cost", "1.5"]
        done = run_forked(command, env={"PYTHONPATH": str(REPOSITORY)})
        assert done.returncode == 6, done.stderr
        assert "run again with a higher max_cost" in done.stderr
        told = json.loads(done.stdout)
        assert Decimal(told["all_runs_max_usd"]) <= Decimal(told["cap_usd"]) == Decimal("1.5")
        assert bill_usd(sim) <= Decimal("1.5")


def test_what_was_held_for_requests_that_got_no_key_comes_back(place):
    with Simulator([SimKey("a", quota=3)], latency=0.01) as sim:
        place.inputs(30).configure(sim)
        config = json.loads(place.config.read_text())
        config["api_keys"][0]["max_concurrent_requests"] = 1
        place.config.write_text(json.dumps(config))
        with pytest.raises(NoUsableKey) as caught:
            place.toolkit(num_threads=20, max_cost=CAP).run()
        funds = caught.value.summary.funds
        assert (funds.held_usd, funds.waiting) == (0, 0)
        assert funds.spent_usd == bill_usd(sim) < CAP
