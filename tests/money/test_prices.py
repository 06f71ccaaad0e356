"""Prices: one's own first, then the list's; what is not known is None; holds are upper bounds."""

import subprocess
import sys
import time
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_parallel_toolkit.calls.models import ChatModel, make_request, request_of
from openai_parallel_toolkit.core.records import Usage
from openai_parallel_toolkit.costs.model_price import ModelPrice
from openai_parallel_toolkit.costs.prices import PriceBook
from openai_parallel_toolkit.costs.tokens import DEFAULT_REPLY_TOKENS

OPENAI = "https://api.openai.com/v1"
MILLION = Usage(prompt_tokens=1_000_000, completion_tokens=1_000_000)
OWN = ModelPrice(input_usd=Decimal(1), output_usd=Decimal(2))
DEAR = ModelPrice(input_usd=Decimal(10), output_usd=Decimal(20))
#: The list needs Python 3.11.
listed = pytest.mark.skipif(sys.version_info < (3, 11), reason="the list needs Python 3.11")


def both(model, prices=(), api_base=OPENAI):
    """What a million tokens each way cost."""
    return PriceBook(dict(prices), api_base).cost_usd(model, MILLION)


def test_an_unknown_model_has_no_price_and_not_price_0():
    assert both("a-model-of-my-own") is None


def test_an_unknown_usage_has_no_cost():
    assert PriceBook({"m": OWN}).cost_usd("m", None) is None


@listed
@pytest.mark.parametrize(
    ("model", "usd"),
    [("gpt-3.5-turbo", 2), ("gpt-35-turbo", 2), ("gpt-4o-2024-08-06", "12.5"), ("o3-mini", "5.5")],
)
def test_openais_models_have_list_prices_also_dated_and_as_azure_spells_them(model, usd):
    assert both(model) == Decimal(usd)
    assert both(model, api_base="https://mine.openai.azure.com") == Decimal(usd)


@listed
def test_another_providers_models_have_its_prices_at_its_own_address():
    assert both("deepseek-chat", api_base="https://api.deepseek.com") > 0
    assert both("deepseek-chat", api_base="http://127.0.0.1:8000/v1") is None


def test_own_prices_win_also_for_azures_spelling():
    assert both("gpt-4o", {"gpt-4o": OWN}) == 3
    assert both("gpt-35-turbo", {"gpt-3.5-turbo": OWN}) == 3


def test_an_own_price_holds_for_dated_versions_that_are_not_listed():
    assert both("my-model-2026-11-01", {"my-model": OWN}) == 3


@listed
def test_a_model_that_is_charged_by_something_else_than_tokens_has_no_price():
    assert both("whisper-1") is None


@pytest.mark.parametrize("model", ["m-2026-11-01", "m-20261101", "m@20261101", "m-1101"])
def test_an_own_price_holds_for_dated_names_before_the_list(model):
    assert both(model, {"m": OWN}) == 3


@listed
def test_an_own_price_of_the_plain_name_wins_over_the_list_price_of_the_dated_one():
    assert both("gpt-4o-2024-08-06", {"gpt-4o": OWN}) == 3
    assert both("gpt-4o-2024-08-06", {"gpt-4o": OWN, "gpt-4o-2024-08-06": DEAR}) == 30


@listed
@pytest.mark.parametrize(
    ("model", "usd"),
    [
        ("ft:gpt-4o-mini-2024-07-18:org::id", "1.5"),
        ("ft:gpt-4o-2024-08-06:org:name:id", "18.75"),
        ("gpt-4o-mini-2024-07-18.ft-id", "1.5"),
        ("ft:gpt-4-0613:org::id", None),
        ("ft:gpt-4.1-mini-2025-04-14:org::id", None),
        ("gpt-4o-2024-08-06.ft-id", None),
    ],
)
def test_a_fine_tuned_model_has_its_own_price_or_none_and_never_that_of_its_base(model, usd):
    assert both(model) == (None if usd is None else Decimal(usd))


@pytest.mark.parametrize(
    "given", ["ft:gpt-4o-2024-08-06:org::id", "ft:gpt-4o-2024-08-06", "ft:gpt-4o"]
)
def test_an_own_price_holds_for_a_fine_tuned_model(given):
    assert both("ft:gpt-4o-2024-08-06:org::id", {given: OWN}) == 3
    assert both("ft:gpt-4.1-2025-04-14:org::id", {"gpt-4.1": OWN}) is None


def test_a_deployments_own_price_counts_for_what_it_served_and_for_the_most():
    book = PriceBook({"m": OWN, "mine": DEAR}, deployments={"mine", "other", None})
    assert book.cost_usd("m", MILLION) == book.cost_usd("m", MILLION, "other") == 3
    assert book.cost_usd("m", MILLION, "mine") == 30
    request = request_of(ChatModel("m", content="hello", max_tokens=1_000_000))
    assert book.max_cost_usd(request) > 20


TIERED = replace(OWN, tiers={"flex": replace(OWN, output_usd=Decimal(1)), "priority": DEAR})


@pytest.mark.parametrize(
    ("tier", "usd"),
    [
        (None, 3),
        ("default", 3),
        ("on_demand", 3),
        ("flex", 2),
        ("priority", 30),
        ("scale", None),
        ("not said", None),
        ("batch", "1.5"),
    ],
)
def test_a_service_tier_has_its_own_price_or_none(tier, usd):
    usage = replace(MILLION, service_tier=tier)
    assert TIERED.cost_usd(usage) == (None if usd is None else Decimal(usd))


@pytest.mark.parametrize(("tier", "usd"), [("priority", 20), ("flex", 2), ("default", 2)])
def test_a_request_is_held_at_its_tier_or_the_plain_price_whichever_is_more(tier, usd):
    request = request_of(ChatModel("m", content="", max_tokens=10**6, service_tier=tier))
    most = PriceBook({"m": TIERED}).max_cost_usd(request)
    assert most == pytest.approx(Decimal(usd), abs=Decimal("0.01"))


def test_a_request_for_a_tier_without_a_price_cannot_be_held_to_a_cost():
    request = request_of(ChatModel("m", content="", service_tier="flex"))
    assert PriceBook({"m": OWN}).max_cost_usd(request) is None


def test_what_is_asked_in_a_batch_is_held_at_the_price_of_batches():
    request = request_of(ChatModel("m", content="", max_tokens=10**6, service_tier="flex"))
    most = PriceBook({"m": OWN}).max_cost_usd(request, is_batch=True)
    assert most == pytest.approx(Decimal(1), abs=Decimal("0.01"))


@listed
@pytest.mark.parametrize(
    ("model", "tier", "usd"),
    [("gpt-4o", "priority", "21.25"), ("gpt-4o", "flex", None), ("gpt-4o", "batch", "6.25")],
)
def test_the_list_knows_the_prices_of_tiers(model, tier, usd):
    cost_usd = PriceBook({}, OPENAI).cost_usd(model, replace(MILLION, service_tier=tier))
    assert cost_usd == (None if usd is None else Decimal(usd))


def test_audio_has_its_own_price_or_none():
    spoken = replace(MILLION, audio_prompt_tokens=500_000, audio_completion_tokens=500_000)
    assert OWN.cost_usd(spoken) is None
    price = replace(OWN, audio_input_usd=Decimal(10), audio_output_usd=Decimal(20))
    assert price.cost_usd(spoken) == Decimal("16.5")


def test_what_is_written_into_the_cache_has_its_own_price():
    price = replace(OWN, cache_write_usd=Decimal(4), cached_usd=Decimal("0.5"))
    usage = Usage(prompt_tokens=1_000_000, cached_tokens=500_000, cache_write_tokens=250_000)
    assert price.cost_usd(usage) == Decimal("1.5")
    assert OWN.cost_usd(usage) == 1


def test_cached_tokens_have_their_own_price():
    price = ModelPrice(input_usd=Decimal(2), output_usd=Decimal(0), cached_usd=Decimal(1))
    usage = Usage(prompt_tokens=1_000_000, cached_tokens=400_000)
    assert PriceBook({"m": price}).cost_usd("m", usage) == Decimal("1.6")


@listed
@pytest.mark.parametrize(("prompt_tokens", "usd"), [(272_000, "2.5"), (272_001, "5")])
def test_long_prompts_are_charged_at_the_higher_step_whole(prompt_tokens, usd):
    cost = PriceBook({}, OPENAI).cost_usd("gpt-5.4", Usage(prompt_tokens=prompt_tokens))
    assert cost == prompt_tokens * Decimal(usd) / 1_000_000


def test_the_longest_reply_is_the_bodys_limit_times_n():
    request = request_of(ChatModel("m", content="hello", max_tokens=50, n=3))
    expected = (len(request.body) * OWN.input_usd + 150 * OWN.output_usd) / 1_000_000
    assert PriceBook({"m": OWN}).max_cost_usd(request) == expected


@pytest.mark.parametrize(
    ("model", "reply_tokens"),
    [
        ("gpt-3.5-turbo", 4096),
        ("gpt-4o-mini", 16_384),
        ("gpt-4o-mini-2024-07-18", 16_384),
        ("my-model", DEFAULT_REPLY_TOKENS),
    ],
)
def test_without_a_limit_the_longest_reply_is_the_models(model, reply_tokens):
    request = request_of(ChatModel(model, content="hello"))
    free = ModelPrice(input_usd=Decimal(0), output_usd=Decimal(1))
    assert PriceBook({model: free}).max_cost_usd(request) * 1_000_000 == reply_tokens


@listed
def test_a_model_whose_longest_reply_is_not_known_may_fill_its_context():
    request = request_of(ChatModel("gpt-4", content="hello"))
    free = ModelPrice(input_usd=Decimal(0), output_usd=Decimal(1))
    assert PriceBook({"gpt-4": free}, OPENAI).max_cost_usd(request) * 1_000_000 == 8192


def test_a_reply_beyond_its_limit_teaches_how_long_the_next_can_be():
    request = request_of(ChatModel("m", content="hello", max_tokens=50, n=2))
    free = ModelPrice(input_usd=Decimal(0), output_usd=Decimal(1_000_000))
    book = PriceBook({"m": free})
    book.note_reply(request, Usage(prompt_tokens=1, completion_tokens=100))
    assert book.max_cost_usd(request) == 100
    book.note_reply(request, Usage(prompt_tokens=1, completion_tokens=701))
    assert book.max_cost_usd(request) == 702
    book.note_reply(request, None)
    assert book.max_cost_usd(request_of(ChatModel("m", content="hello", max_tokens=900))) == 900


def test_an_embedding_has_no_reply():
    request = make_request("/embeddings", "m", {"model": "m", "input": "hello"})
    expected = Decimal(len(request.body)) / 1_000_000
    assert PriceBook({"m": OWN}).max_cost_usd(request) == expected


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_a_hold_covers_a_prompt_in_which_every_byte_is_a_token(content):
    request = request_of(ChatModel("m", content=content, max_tokens=1))
    #: What chat adds for each message and for the whole; a provider counts less than this.
    tokens = len(content.encode()) + 7
    most = OWN.cost_usd(Usage(prompt_tokens=tokens, completion_tokens=1))
    assert PriceBook({"m": OWN}).max_cost_usd(request) >= most


def test_a_price_costs_a_few_microseconds():
    book = PriceBook({}, OPENAI)
    usage = Usage(prompt_tokens=123, completion_tokens=45)
    book.cost_usd("gpt-4o", usage)
    began = time.thread_time()
    for _ in range(10_000):
        book.cost_usd("gpt-4o", usage)
    assert (time.thread_time() - began) / 10_000 < 50e-6


@listed
def test_looking_prices_up_opens_no_connection():
    program = """
import sys
def refuse(event, _):
    if event.startswith("socket.") or event == "urllib.Request":
        raise SystemExit(f"the network was used: {event}")
sys.addaudithook(refuse)
from openai_parallel_toolkit.costs.prices import PriceBook
from openai_parallel_toolkit.core.records import Usage
assert PriceBook({}, "https://api.openai.com/v1").cost_usd("gpt-4o", Usage(prompt_tokens=1))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
