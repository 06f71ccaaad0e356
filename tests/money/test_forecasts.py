"""What is kept of earlier answers tells what others will take, and which of them will be cut."""

from decimal import Decimal

import pytest
from money_fixture import MODEL, Sums

from openai_parallel_toolkit import ChatModel, FilesFailed, request_openai_api
from openai_parallel_toolkit.simulator import Simulator

CHEAP, DEAR = "gpt-4o-mini", "gpt-4o"
PRICES = {
    MODEL: {"input": 500, "output": 1500},
    CHEAP: {"input": 0.15, "output": 0.6},
    DEAR: {"input": 250, "output": 1000},
}


def asking(model, *, calls=1, **limit):
    class Asks(Sums):
        def process_data(self, text):
            answers = [text]
            for _ in range(calls):
                asked = ChatModel(model, content=answers[-1], **limit)
                answers.append(request_openai_api(asked))
            return answers

    return Asks


def bill(sim, since=0):
    """What the ledger charges for all that was billed after so many rows."""
    total = Decimal(0)
    for row in sim.ledger.rows()[since:]:
        price = PRICES[row.model]
        for tokens, name in ((row.prompt_tokens, "input"), (row.completion_tokens, "output")):
            total += tokens * Decimal(str(price[name])) / 1_000_000
    return float(total)


@pytest.mark.parametrize("calls", [1, 3])
@pytest.mark.parametrize("model", [CHEAP, DEAR])
def test_another_model_is_forecast_by_what_the_one_before_took(place, model, calls):
    with Simulator() as sim:
        place.inputs(30, words=(50, 400)).configure(sim, prices=PRICES)
        place.toolkit(asking(MODEL, calls=calls)).run()
        before = len(sim.ledger.rows())
        told = place.toolkit(asking(model, calls=calls), force=True).estimate(15, tokens_only=True)
        assert len(sim.ledger.rows()) == before
        place.toolkit(asking(model, calls=calls), force=True).run()
        assert told.cost_usd.likely == pytest.approx(bill(sim, before), rel=0.2)
        assert told.calls.likely == 30 * calls


def test_files_that_were_never_asked_about_are_forecast_by_the_others_replies(place):
    with Simulator() as sim:
        place.inputs(60, words=(50, 400)).configure(sim, prices=PRICES)
        place.toolkit(asking(MODEL), file_count=20).run()
        before = len(sim.ledger.rows())
        told = place.toolkit(asking(DEAR)).estimate(20, tokens_only=True)
        assert "if each is as long as those kept" in str(told)
        place.toolkit(asking(DEAR)).run()
        assert told.cost_usd.likely == pytest.approx(bill(sim, before), rel=0.2)


def test_a_sample_counts_no_answers_of_a_model_that_the_hooks_name_no_more(place):
    with Simulator() as sim:
        place.inputs(20, words=(50, 400)).configure(sim, prices=PRICES)
        place.toolkit(asking(MODEL)).run()
        before = len(sim.ledger.rows())
        told = place.toolkit(asking(CHEAP), force=True).estimate(8)
        place.toolkit(asking(CHEAP), force=True).run()
        assert told.cost_usd.likely == pytest.approx(bill(sim, before), rel=0.2)


LIMIT = {"max_tokens": 14}


@pytest.mark.parametrize("tokens_only", [False, True])
def test_the_share_of_answers_that_a_limit_cuts_is_told_before_they_are_paid_for(
    place, tokens_only
):
    with Simulator() as sim:
        place.inputs(120, words=(1, 12), seed=5).configure(sim, prices=PRICES)
        if tokens_only:
            place.toolkit(asking(MODEL), file_count=60).run()
        told = place.toolkit(asking(MODEL, **LIMIT)).estimate(40, tokens_only=tokens_only)
        assert f"Cut: about {told.share_cut:.0%} of the answers" in str(told)
        before = len(sim.ledger.rows())
        summary = place.toolkit(asking(MODEL, **LIMIT)).run()
        assert 0.1 < told.share_cut < 0.9
        asked = sim.ledger.billed() - before
        assert told.share_cut == pytest.approx(summary.failed / asked, abs=0.2)


def test_nothing_is_said_of_cuts_where_there_are_none(place):
    with Simulator() as sim:
        place.inputs(12).configure(sim, prices=PRICES)
        told = place.toolkit(asking(MODEL, max_tokens=4_000)).estimate(6)
        assert told.share_cut == 0
        assert "Cut" not in str(told)


def test_a_sample_of_which_all_is_cut_says_so(place):
    with Simulator() as sim:
        place.inputs(12, words=(50, 90)).configure(sim, prices=PRICES)
        with pytest.raises(FilesFailed, match=r"100% of the answers were cut by their limit"):
            place.toolkit(asking(MODEL, max_tokens=2)).estimate(6)
