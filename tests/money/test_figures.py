"""What is known of a cost, what is in doubt and what has no price are told apart."""

from decimal import Decimal

import pytest

from openai_parallel_toolkit.core.records import Lease, Need, Outcome, OutcomeKind, Secret, Usage
from openai_parallel_toolkit.costs.figures import Cost, Tally

MOST_USD = Decimal("0.25")


def lease(most_usd=MOST_USD):
    need = Need(model="m", tokens=1, max_cost_usd=most_usd)
    secret = Secret("sk-x")
    return Lease(id=1, key_name="k", secret=secret, api_base="http://x", need=need, since_s=0.0)


def figures_after(kind, *, usage=None, most_usd=MOST_USD, cost_usd=None):
    """The figures of one attempt that ended so."""
    tally = Tally()
    tally.sent(lease(most_usd))
    tally.ended(lease(most_usd), Outcome(kind=kind, usage=usage), cost_usd)
    return tally.figures()


def test_what_is_under_way_is_sent_and_not_yet_in_doubt():
    tally = Tally()
    tally.sent(lease())
    figures = tally.figures()
    assert (figures.sent, figures.by_key["k"].sent, figures.max_cost_usd) == (1, 1, 0)


def test_an_answer_with_a_price_is_known():
    usage = Usage(prompt_tokens=3, completion_tokens=4)
    figures = figures_after(OutcomeKind.OK, usage=usage, cost_usd=Decimal("0.01"))
    assert (figures.answered, figures.tokens) == (1, 7)
    assert figures.cost_usd == figures.max_cost_usd == Decimal("0.01")


@pytest.mark.parametrize("kind", [OutcomeKind.OK, OutcomeKind.UNKNOWN])
def test_what_nobody_knows_the_cost_of_counts_at_its_most(kind):
    figures = figures_after(kind)
    assert (figures.cost_usd, figures.max_cost_usd, figures.unpriced) == (0, MOST_USD, 0)
    figures = figures_after(kind, most_usd=None)
    assert (figures.max_cost_usd, figures.unpriced) == (0, 1)


def test_answers_that_do_not_say_what_they_used_are_told():
    assert figures_after(OutcomeKind.OK).uncounted == 1
    assert figures_after(OutcomeKind.OK).tokens_words == "tokens unknown"
    told = figures_after(OutcomeKind.OK, usage=Usage(prompt_tokens=3), cost_usd=Decimal(1))
    assert (told.uncounted, told.tokens_words) == (0, "3 tokens")
    assert (told + figures_after(OutcomeKind.OK)).uncounted == 1


@pytest.mark.parametrize("kind", [OutcomeKind.BUSY, OutcomeKind.REJECTED, OutcomeKind.UNSENT])
def test_what_is_not_billed_costs_nothing(kind):
    figures = figures_after(kind)
    assert (figures.max_cost_usd, figures.unpriced, figures.unanswered) == (0, 0, 0)
    assert figures.sent == (kind is not OutcomeKind.UNSENT)


@pytest.mark.parametrize(
    ("known", "most", "unpriced", "words", "json"),
    [
        ("0", "0", 0, "$0", ("0", "0")),
        ("0.0000213", "0.0000213", 0, "$0.000021", ("0.0000213", "0.0000213")),
        ("0.5", "0.5", 0, "$0.5000", ("0.5", "0.5")),
        ("0.5", "1", 0, "$0.5000 known, at most $1.0000", ("0.5", "1")),
        ("0.5", "0.5", 2, "$0.5000 and 2 calls without a price", ("0.5", None)),
        ("0", "0", 1, "cost unknown (no price is set for the model)", (None, None)),
        ("0", "0.25", 0, "cost unknown, at most $0.2500", (None, "0.25")),
        ("0", "1", 1, "cost unknown, at most $1.0000 and 1 call without a price", (None, None)),
    ],
)
def test_a_cost_is_told_in_words_and_json_and_what_is_unknown_is_never_0(
    known, most, unpriced, words, json
):
    cost = Cost(known_usd=Decimal(known), max_usd=Decimal(most), unpriced=unpriced)
    assert cost.words() == words
    assert tuple(cost.as_dict().values()) == json
