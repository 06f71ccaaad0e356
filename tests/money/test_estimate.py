"""`estimate`: a small sample is done in full and tells what the whole job takes."""

import json
from decimal import Decimal
from pathlib import Path
from random import Random

import money_fixture
import pytest
from forked_process import run_forked
from hypothesis import given
from hypothesis import strategies as st
from money_fixture import Sums, bill_usd

from openai_parallel_toolkit import ChatModel, FilesFailed, request_openai_api
from openai_parallel_toolkit.runs.sample import forecast
from openai_parallel_toolkit.simulator import SimKey, Simulator

REPOSITORY = Path(__file__).parents[2]


class One(Sums):
    """Asks one question about each file."""

    def process_data(self, text):
        return [request_openai_api(ChatModel(money_fixture.MODEL, content=text, prompt="Sum up."))]


@pytest.mark.timeout(120)
def test_a_sample_of_one_percent_forecasts_the_bill_within_five_percent(place, request):
    count = 2000 if request.config.getoption("--full") else 700
    with Simulator([SimKey("a")], seed=4) as sim:
        place.inputs(count, words=(20, 900), seed=8).configure(sim)
        told = place.toolkit(One).estimate()
        assert (told.files, told.sampled, told.failed) == (count, count // 100, 0)
        assert sim.ledger.billed() == count // 100
        assert told.sample_usd == bill_usd(sim)
        summary = place.toolkit(One, num_threads=64).run()
        assert (summary.done, summary.skipped) == (count - told.sampled, told.sampled)
        assert sim.ledger.billed() == count
        bill = float(bill_usd(sim))
        assert told.cost_usd.likely == pytest.approx(bill, rel=0.05)
        assert told.cost_usd.low <= bill <= told.cost_usd.high
        assert told.calls.likely == count


def test_a_count_or_a_share_of_the_files_is_taken_and_all_of_them_give_the_sum_itself(place):
    with Simulator() as sim:
        place.inputs(12).configure(sim)
        assert place.toolkit(One).estimate(0.25).sampled == 3
        assert place.toolkit(One).estimate(2).sampled == 2
        told = place.toolkit(One).estimate(100)
        assert (told.files, told.sampled) == (7, 7)
        assert told.cost_usd.low == told.cost_usd.likely == told.cost_usd.high


def test_tokens_only_sends_nothing_and_counts_first_calls(place):
    with Simulator() as sim:
        place.inputs(50).configure(sim)
        told = place.toolkit().estimate(10, tokens_only=True)
        assert sim.ledger.hits() == 0
        assert not list(place.output.glob("*.json"))
        assert (told.sampled, told.calls.likely, told.sample_usd) == (10, 50, None)
        assert told.prompt_tokens.likely > 0
        assert "nothing was sent" in str(told)


def test_without_a_price_the_cost_is_unknown(place):
    class Unpriced(Sums):
        def process_data(self, text):
            return request_openai_api(ChatModel("mystery-9", content=text))

    with Simulator() as sim:
        place.inputs(8).configure(sim)
        told = place.toolkit(Unpriced).estimate()
    assert told.cost_usd is None
    assert told.as_dict()["cost_usd"] is None
    assert "Cost: unknown" in str(told)


def test_the_time_follows_the_limits_of_the_keys(place):
    with Simulator([SimKey("a")]) as sim:
        place.inputs(100).configure(sim)
        config = json.loads(place.config.read_text())
        config["api_keys"][0]["rpm"] = 60
        place.config.write_text(json.dumps(config))
        told = place.toolkit(One).estimate(5)
    assert told.bound_by == "the keys' rpm"
    assert told.seconds == pytest.approx(95)


def test_batch_mode_is_told_at_half_the_price(place):
    with Simulator() as sim:
        place.inputs(8).configure(sim)
        told = place.toolkit(One).estimate(8)
        assert told.batch_usd * 2 == bill_usd(sim)


def test_a_sample_that_fails_altogether_forecasts_nothing(place):
    class Broken(Sums):
        def process_data(self, text):
            raise ValueError("no")

    with Simulator() as sim:
        place.inputs(8).configure(sim)
        with pytest.raises(FilesFailed, match="nothing can be forecast"):
            place.toolkit(Broken).estimate(3)


def test_when_no_file_is_due_all_of_it_is_nothing(place):
    with Simulator() as sim:
        place.inputs(3).configure(sim)
        assert place.toolkit(One).run().done == 3
        told = place.toolkit(One).estimate()
        assert (told.files, told.sampled, told.failed, told.sample_usd) == (0, 0, 0, 0)
        assert told.calls.likely == told.cost_usd.likely == told.batch_usd == 0
        assert str(told) == "No file is due, so there is nothing to forecast."
        assert told.as_dict()["files"] == 0


def test_the_command_tells_it_as_words_and_as_json(place):
    with Simulator([SimKey("a")]) as sim:
        place.inputs(40).configure(sim)
        target = f"{Path(money_fixture.__file__)}:Sums"
        words = ["estimate", target, place.input, place.output, "--config", place.config]

        def give(*more):
            command = ["-m", "openai_parallel_toolkit", *words, *more]
            done = run_forked(command, env={"PYTHONPATH": str(REPOSITORY)})
            assert done.returncode == 0, done.stderr
            return done.stdout

        assert json.loads(give("--json", "--tokens-only"))["tokens_only"] is True
        assert sim.ledger.hits() == 0
        told = json.loads(give("--json", "--sample", "0.25"))
        assert (told["files"], told["sampled"], sim.ledger.billed()) == (40, 10, 20)
        assert Decimal(told["cost_usd"]["low"]) < Decimal(told["cost_usd"]["high"])
        assert "Sample: 5 of 30 files" in give()


@given(st.integers(0, 1000), st.floats(0, 5), st.floats(0, 100))
def test_values_that_lie_on_a_line_are_forecast_exactly(seed, slope, base):
    chance = Random(seed)
    sizes = [chance.randrange(1, 10_000) for _ in range(200)]
    values = [base + slope * size for size in sizes]
    told = forecast(values[:9], sizes[:9], rest_count=191, rest_size=sum(sizes[9:]))
    assert told.likely == pytest.approx(sum(values))
    assert told.low == pytest.approx(told.high)


def test_values_that_sizes_do_not_explain_are_forecast_by_their_mean():
    told = forecast([1, 5, 1, 5], [10, 10, 90, 90], rest_count=4, rest_size=4000)
    assert told.likely == 24
    assert told.low < 24 < told.high


def test_of_two_files_no_range_is_told():
    told = forecast([1, 5], [10, 10], rest_count=4, rest_size=40)
    assert (told.likely, told.low, told.high) == (18, None, None)
