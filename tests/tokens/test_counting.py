"""Counts are tiktoken's, for any text, and no text takes the process down."""

import time

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from openai_parallel_toolkit import num_tokens_from_string
from openai_parallel_toolkit.costs.tokens.counting import _count_calmly, counter_for
from openai_parallel_toolkit.costs.tokens.vocabulary import encoding_for, encoding_name

MODELS = ["gpt-3.5-turbo", "gpt-4o"]
WORDS = st.sampled_from([
    " ", "  ", "\n", "\r\n", "\t", "a", "Ab", "'s", "'LL", "12", "3456", "é", "e\u0301", "字。",
    "-", "...", "<|endoftext|>", "<|im_start|>", "🙂", "_", "\x1c", "\u2028", "\u017f", "،",
    "Ⅷ", "½",
])  # fmt: skip
TEXTS = st.one_of(st.text(), st.lists(WORDS).map("".join))


@pytest.fixture(scope="module", autouse=True)
def _vocabularies():
    """Loading one takes longer than a single example may."""
    for model in MODELS:
        encoding_for(model)


def tiktoken_count(text, model):
    name = tiktoken.encoding_name_for_model(model)
    return len(tiktoken.get_encoding(name).encode(text, disallowed_special=()))


def test_the_example_of_the_readme_counts_two():
    assert num_tokens_from_string("hello world") == 2
    assert num_tokens_from_string("") == 0


@pytest.mark.parametrize("model", MODELS)
@given(text=TEXTS)
def test_every_text_counts_as_tiktoken_counts_it(model, text):
    assert num_tokens_from_string(text, model) == tiktoken_count(text, model)


@pytest.mark.parametrize("model", MODELS)
@given(text=TEXTS)
def test_the_careful_way_counts_the_same(model, text):
    assert _count_calmly(encoding_for(model), text) == tiktoken_count(text, model)


def test_special_tokens_are_plain_text():
    assert num_tokens_from_string("<|endoftext|>") == 7


def test_lone_surrogates_count_as_replacement_characters():
    assert num_tokens_from_string("a\ud800b") == num_tokens_from_string("a\ufffdb")
    blank = " " * 200_000
    assert num_tokens_from_string(blank + "\udfff") == num_tokens_from_string(blank + "\ufffd")


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-3.5-turbo", "cl100k_base"),
        ("gpt-35-turbo", "cl100k_base"),
        ("gpt-4-0613", "cl100k_base"),
        ("gpt-4o-mini", "o200k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("gpt-oss-120b", "o200k_base"),
        ("gpt-99-ultra", "o200k_base"),
        ("my-deployment", "o200k_base"),
        ("", "o200k_base"),
    ],
)
def test_a_name_that_tiktoken_does_not_know_gets_the_newest_encoding(model, encoding):
    assert encoding_name(model) == encoding
    assert num_tokens_from_string("hello world", model) == 2


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("end", ["", "a", "\n", "\nb"])
def test_a_million_spaces_do_not_panic(model, end, capfd):
    """They overflow tiktoken's matcher, whose panic no `except Exception` would catch."""
    text = "start." + " " * 1_000_000 + end
    assert num_tokens_from_string(text, model) >= 7813
    assert "panicked" not in capfd.readouterr().err


@pytest.mark.parametrize("model", MODELS)
def test_long_blanks_that_tiktoken_bears_count_as_it_counts(model):
    for blank in (" " * 120_000, "\n" * 120_000, " \n" * 60_000, "\u3000\t" * 60_000):
        for text in (blank, blank + "x", "x." + blank + "\ny", "x" + blank + "1"):
            assert num_tokens_from_string(text, model) == tiktoken_count(text, model)


def test_a_megabyte_of_one_letter_takes_no_longer_than_in_tiktoken():
    count = counter_for("gpt-3.5-turbo")
    since_s = time.thread_time()
    assert count("a" * 1_000_000) == 125_000
    assert time.thread_time() - since_s < 10
