"""Pieces are whole sentences, as many as fit, and lose nothing but the documented white space."""

import time

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st
from tiktoken_ext.openai_public import r50k_pat_str

from openai_parallel_toolkit import UsageError, num_tokens_from_string, split_string_by_tokens
from openai_parallel_toolkit.costs.tokens.splitting import _LAST_CUT, furthest
from openai_parallel_toolkit.costs.tokens.vocabulary import encoding_for

MODELS = ["gpt-3.5-turbo", "gpt-4o"]
SIGNALS = [".", "\n", " ", "。", "..", ". ", "a", "aba", "'", "\n\n", "1", "e"]
PARTS = st.sampled_from([
    ".", ". ", "..", " ", "  ", "\n", "\n\n", "a", "aba", "hello", "Wor", "ld", "'s", "it's",
    "I'LL", "1", "234", "。", "字", "\uff0c", "é", "e\u0301", "!", "?\n", "<|endoftext|>", "🙂",
    "\x1c", "\u2028", "_", "/", "\u017f", "½",
])  # fmt: skip
LISTS = st.one_of(st.lists(PARTS, max_size=10), st.lists(PARTS, min_size=20, max_size=80))
TEXTS = st.one_of(LISTS.map("".join), st.text(max_size=60))
ARGUMENTS = {
    "text": TEXTS,
    "limit": st.integers(1, 16),
    "signal": st.sampled_from(SIGNALS),
    "strip": st.booleans(),
}


@pytest.fixture(scope="module", autouse=True)
def _vocabularies():
    """Loading one takes longer than a single example may."""
    for model in MODELS:
        num_tokens_from_string("", model)


def sentences_of(text, signal, strip):
    *bodies, last = text.split(signal)
    if strip:
        bodies, last = [body.strip() for body in bodies], last.strip()
    return [body + signal for body in bodies] + ([last] if last else [])


@given(**ARGUMENTS)
def test_the_joined_pieces_are_the_text_but_for_trimmed_white_space(text, limit, signal, strip):
    pieces = split_string_by_tokens(text, limit, signal, strip=strip)
    assert "".join(pieces) == "".join(sentences_of(text, signal, strip))
    if not strip:
        assert "".join(pieces) == text


@pytest.mark.parametrize("model", MODELS)
@given(**ARGUMENTS)
def test_a_piece_takes_as_many_sentences_as_fit_and_no_more(model, text, limit, signal, strip):
    """A piece fits by its own count, or is one sentence; with one more it would not fit."""
    left = sentences_of(text, signal, strip)
    for piece in split_string_by_tokens(text, limit, signal, model=model, strip=strip):
        taken = 0
        while len("".join(left[:taken])) < len(piece):
            taken += 1
        assert "".join(left[:taken]) == piece, "cut inside a sentence"
        assert taken == 1 or num_tokens_from_string(piece, model) <= limit
        if taken < len(left):
            assert num_tokens_from_string(piece + left[taken], model) > limit
        left = left[taken:]
    assert not left


@given(**ARGUMENTS)
def test_each_piece_but_the_last_ends_at_the_signal(text, limit, signal, strip):
    pieces = split_string_by_tokens(text, limit, signal, strip=strip)
    assert all(piece.endswith(signal) for piece in pieces[:-1])
    assert all(pieces)


def test_sentences_lose_the_white_space_around_them_and_keep_their_signal():
    text = " One two. \n Three .Four. "
    assert split_string_by_tokens(text, 100, ".") == ["One two.Three.Four."]
    assert split_string_by_tokens(text, 1, ".") == ["One two.", "Three.", "Four."]
    assert split_string_by_tokens(text, 100, ".", strip=False) == [text]
    assert split_string_by_tokens("a \n b\n", 1, "\n") == ["a\n", "b\n"]


def test_a_too_long_sentence_stands_alone_and_whole():
    long = "word " * 50 + "end."
    assert split_string_by_tokens(f"Hi. {long} Ho.", 10, ".") == ["Hi.", long, "Ho."]


def test_edges():
    assert split_string_by_tokens("", 5, ".") == []
    assert split_string_by_tokens("  \n", 5, ".") == []
    assert split_string_by_tokens("  ", 5, ".", strip=False) == ["  "]
    assert split_string_by_tokens(string="hello world", thunk_len=2, split_signal="。") == [
        "hello world"
    ]
    assert split_string_by_tokens("no signal at all", 1, "#") == ["no signal at all"]


def test_overlapping_signals_are_found_from_left_to_right():
    assert split_string_by_tokens("xababay", 1, "aba") == ["xaba", "bay"]


def test_lone_surrogates_stay_where_they_are():
    text = "a\ud800. b\udfff."
    assert "".join(split_string_by_tokens(text, 3, ".", strip=False)) == text


@pytest.mark.parametrize(("limit", "signal"), [(0, "."), (-5, "."), (5, "")])
def test_what_cannot_work_is_refused(limit, signal):
    with pytest.raises(UsageError, match=r"thunk_len is|split_signal is"):
        split_string_by_tokens("a. b.", limit, signal)


@pytest.mark.parametrize(
    ("text", "signal"),
    [
        ("a" * 1_000_000, "."),
        ("a" * 1_000_000, "a"),
        ("." * 1_000_000, "."),
        (" " * 1_000_000 + ".", "."),
        ("Hardly a sentence. " * 50_000, "."),
        ("\n" * 1_000_000, "\n"),
    ],
    ids=["letter", "letters", "dots", "spaces", "prose", "lines"],
)
@pytest.mark.parametrize("strip", [True, False])
def test_a_megabyte_does_not_hang(text, signal, strip):
    since_s = time.thread_time()
    pieces = split_string_by_tokens(text, 1000, signal, model="gpt-4o", strip=strip)
    assert time.thread_time() - since_s < 20
    if not strip:
        assert "".join(pieces) == text


@pytest.mark.parametrize("name", ["r50k", *MODELS])
@given(text=TEXTS)
def test_no_word_crosses_a_cut_or_looks_across_it(name, text):
    """So counts of two parts that meet at a cut add up, in every encoding."""
    pattern = r50k_pat_str if name == "r50k" else encoding_for(name)._pat_str
    cut = _LAST_CUT.match(text)
    if cut:
        parts = [text[: cut.end()], text[cut.end() :]]
        assert regex.findall(pattern, text) == [
            word for part in parts for word in regex.findall(pattern, part)
        ]


@given(low=st.integers(0, 50), length=st.integers(0, 50), place=st.integers(), guess=st.integers())
def test_the_search_finds_where_fitting_ends_from_any_guess(low, length, place, guess):
    high = low + length
    place = low + place % (length + 1)

    def fits(number):
        assert low < number <= high
        return number <= place

    assert furthest(fits, low=low, high=high, guess=guess) == place
