"""What replies say they used, in the forms of many providers; what cannot be read is unknown."""

import pytest

from openai_parallel_toolkit.calls.usage import in_batch, read_usage, served
from openai_parallel_toolkit.core.records import Usage


def chat(**usage):
    return {"object": "chat.completion", "usage": usage}


def counted(prompt, completion, **parts):
    return Usage(prompt_tokens=prompt, completion_tokens=completion, **parts)


PLAIN = {"prompt_tokens": 12, "completion_tokens": 30, "total_tokens": 42}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (PLAIN, counted(12, 30)),
        ({"input_tokens": 12, "output_tokens": 30}, counted(12, 30)),
        # Reasoning is inside where the total says so, or where it fits in without a total.
        ({**PLAIN, "completion_tokens_details": {"reasoning_tokens": 20}}, counted(12, 30)),
        (
            {
                "prompt_tokens": 12,
                "completion_tokens": 30,
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            counted(12, 30),
        ),
        # It is beside where the total says so, whoever names it, or where it does not fit in.
        (
            {
                "prompt_tokens": 12,
                "completion_tokens": 1,
                "total_tokens": 399,
                "completion_tokens_details": {"reasoning_tokens": 386},
            },
            counted(12, 387),
        ),
        ({"prompt_tokens": 12, "completion_tokens": 1, "total_tokens": 399}, counted(12, 387)),
        ({"prompt_tokens": 12, "total_tokens": 42}, counted(12, 30)),
        ({"completion_tokens": 30, "total_tokens": 42}, counted(12, 30)),
        (
            {
                "input_tokens": 12,
                "output_tokens": 1,
                "output_tokens_details": {"reasoning_tokens": 9},
            },
            counted(12, 10),
        ),
        # Cached tokens, in every spelling.
        (
            {**PLAIN, "prompt_tokens_details": {"cached_tokens": 8}},
            counted(12, 30, cached_tokens=8),
        ),
        (
            {"input_tokens": 12, "output_tokens": 30, "input_tokens_details": {"cached_tokens": 8}},
            counted(12, 30, cached_tokens=8),
        ),
        (
            {**PLAIN, "prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 4},
            counted(12, 30, cached_tokens=8),
        ),
        ({**PLAIN, "cached_tokens": 8}, counted(12, 30, cached_tokens=8)),
        (
            {**PLAIN, "prompt_tokens_details": None, "input_tokens_details": {"cached_tokens": 8}},
            counted(12, 30, cached_tokens=8),
        ),
        (
            {**PLAIN, "prompt_tokens_details": {"cached_tokens": 0}, "prompt_cache_hit_tokens": 8},
            counted(12, 30, cached_tokens=8),
        ),
        (
            {**PLAIN, "prompt_tokens_details": {"cached_tokens": 6, "cache_write_tokens": 2}},
            counted(12, 30, cached_tokens=6, cache_write_tokens=2),
        ),
        # Anthropic's are beside the prompt, unless the total says that they are inside.
        (
            {
                "input_tokens": 2,
                "cache_read_input_tokens": 8,
                "cache_creation_input_tokens": 2,
                "output_tokens": 30,
            },
            counted(12, 30, cached_tokens=8, cache_write_tokens=2),
        ),
        (
            {
                "prompt_tokens": 40,
                "completion_tokens": 30,
                "total_tokens": 80,
                "cache_read_input_tokens": 10,
            },
            counted(50, 30, cached_tokens=10),
        ),
        ({**PLAIN, "cache_read_input_tokens": 8}, counted(12, 30, cached_tokens=8)),
        (
            {
                "prompt_tokens": 2,
                "completion_tokens": 30,
                "total_tokens": 42,
                "prompt_tokens_details": {"cached_tokens": 10},
            },
            counted(12, 30, cached_tokens=10),
        ),
        # Audio is a part of both.
        (
            {
                **PLAIN,
                "prompt_tokens_details": {"audio_tokens": 5},
                "completion_tokens_details": {"audio_tokens": 20},
            },
            counted(12, 30, audio_prompt_tokens=5, audio_completion_tokens=20),
        ),
        # Numbers as they come.
        ({"prompt_tokens": "12", "completion_tokens": "30"}, counted(12, 30)),
        ({"prompt_tokens": 12.0, "completion_tokens": 30.0}, counted(12, 30)),
        ({"prompt_tokens": 0, "input_tokens": 12, "output_tokens": 30}, counted(12, 30)),
    ],
)
def test_usage_is_read_in_every_form(usage, expected):
    assert read_usage(chat(**usage)) == expected


@pytest.mark.parametrize(
    "usage",
    [
        {},
        {"prompt_tokens": 12},
        {"completion_tokens": 30},
        {"total_tokens": 42},
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"prompt_tokens": None, "completion_tokens": None},
        {"prompt_tokens": -12, "completion_tokens": 30},
        {"prompt_tokens": float("nan"), "completion_tokens": 30},
        {"prompt_tokens": float("inf"), "completion_tokens": 30},
        {"prompt_tokens": 12.5, "completion_tokens": 30},
        {"prompt_tokens": True, "completion_tokens": 30},
        {"prompt_tokens": "many", "completion_tokens": 30},
        {"prompt_tokens": "9" * 5000, "completion_tokens": 30},
        {"prompt_tokens": 10**30, "completion_tokens": 30},
        {"prompt_tokens": [12], "completion_tokens": 30},
        {"prompt_tokens": 12, "completion_tokens": 30, "total_tokens": "?"},
        {**PLAIN, "prompt_tokens_details": {"cached_tokens": -1}},
        # Two counts that contradict each other.
        {**PLAIN, "completion_tokens_details": {"reasoning_tokens": 999}},
        {"prompt_tokens": 50, "total_tokens": 42},
        # Kept for an hour: dearer than the price that is known.
        {**PLAIN, "cache_creation": {"ephemeral_1h_input_tokens": 9}},
    ],
)
def test_usage_that_cannot_be_read_is_unknown(usage):
    assert read_usage(chat(**usage)) is None


@pytest.mark.parametrize("usage", [None, "none", [], 7])
def test_usage_that_is_no_object_is_unknown(usage):
    assert read_usage({"usage": usage}) is None
    assert read_usage({}) is None


def test_embeddings_have_no_output_and_may_tell_a_total_alone():
    for usage in (
        {"prompt_tokens": 7},
        {"prompt_tokens": 7, "total_tokens": 7},
        {"total_tokens": 7},
    ):
        assert read_usage({"object": "list", "usage": usage}) == counted(7, 0)


def test_geminis_own_form_is_read():
    usage = {"promptTokenCount": 12, "thoughtsTokenCount": 20, "cachedContentTokenCount": 4}
    told = {**usage, "candidatesTokenCount": 10, "totalTokenCount": 42}
    assert read_usage({"usageMetadata": told}) == counted(12, 30, cached_tokens=4)
    thought_only = {**usage, "totalTokenCount": 32}
    assert read_usage({"usageMetadata": thought_only}) == counted(12, 20, cached_tokens=4)


@pytest.mark.parametrize(
    ("reply", "asked", "expected"),
    [
        ({}, "", None),
        ({}, "auto", None),
        ({"service_tier": "default"}, "priority", "default"),
        ({"service_tier": "Priority"}, "", "priority"),
        ({"service_tier": None}, "", None),
        ({"service_tier": 3}, "default", None),
        ({}, "flex", "not said"),
        ({"service_tier": None}, "priority", "not said"),
    ],
)
def test_what_the_reply_says_of_its_tier_decides(reply, asked, expected):
    usage = served(read_usage({**chat(**PLAIN), **reply}), asked)
    assert usage is not None
    assert usage.service_tier == expected


def test_anthropics_tier_stands_in_the_usage():
    usage = read_usage(chat(**PLAIN, service_tier="priority"))
    assert usage is not None
    assert usage.service_tier == "priority"


@pytest.mark.parametrize(
    ("told", "expected"),
    [(None, "batch"), ("default", "batch"), ("batch", "batch"), ("flex", "not said")],
)
def test_a_line_of_a_batch_has_the_price_of_batches_unless_it_says_otherwise(told, expected):
    usage = in_batch(counted(12, 30, service_tier=told))
    assert usage is not None
    assert usage.service_tier == expected
    assert in_batch(None) is None
