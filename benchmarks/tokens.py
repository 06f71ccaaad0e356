"""Measure counting and splitting beside one pass of tiktoken over the same text.

    python benchmarks/tokens.py [--quick]

Each part is repeated in turn and medians and their ratio are printed. A vocabulary must be on this
machine, or a network: `pip install 'openai-parallel-toolkit[offline]'` brings it.
"""

from __future__ import annotations

import argparse
import random

import tiktoken
from measure import medians_s

from openai_parallel_toolkit import num_tokens_from_string, split_string_by_tokens

WORDS = """
the of and to in a is that for it as was with be by on not he his but at are this have from or had
an they which one you were all her she there would their we him been has when who will no more if
out so up said what its about than into them can only other time new some could these key request
answer token journal toolkit parallel naïve größer 1984 3.14 don't e-mail (sic)
"""


def prose(size):
    """Return made-up sentences of 5 to 25 words, in lines of a few, always the same."""
    choose, words = random.Random(7), WORDS.split()
    parts, length = [], 0
    while length < size:
        sentence = " ".join(choose.choices(words, k=choose.randint(5, 25)))
        parts.append(sentence.capitalize() + choose.choice([". ", ". ", ".\n", ".\n\n"]))
        length += len(parts[-1])
    return "".join(parts)[:size]


def measure(name, text, model, rounds):
    encode = tiktoken.encoding_for_model(model).encode_ordinary
    works = {
        "tiktoken, one pass": lambda: encode(text),
        "count": lambda: num_tokens_from_string(text, model),
        "split, 100 tokens": lambda: split_string_by_tokens(text, 100, ".", model=model),
        "split, 1,000 tokens": lambda: split_string_by_tokens(text, 1000, ".", model=model),
        "split, 8,000 tokens": lambda: split_string_by_tokens(text, 8000, ".", model=model),
    }
    found = medians_s(works, rounds)
    print(f"{name}, {model}")
    for work, median_s in found.items():
        times = median_s / found["tiktoken, one pass"]
        print(f"  {work:20} {median_s:7.3f} s  {times:5.2f} x tiktoken")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the text, three rounds")
    quick = parser.parse_args().quick
    size, rounds = (1_000_000, 3) if quick else (10_000_000, 5)
    for model in ("gpt-3.5-turbo", "gpt-4o"):
        num_tokens_from_string("", model)  # loads the vocabulary
        measure(f"{size / 1e6:.0f} MB of prose", prose(size), model, rounds)
        measure("1 MB of one letter", "a" * 1_000_000, model, rounds)


if __name__ == "__main__":
    main()
