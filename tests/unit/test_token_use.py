"""What is set aside of a token limit follows what replies were counted with."""

import pytest

from openai_parallel_toolkit.calls.models import ChatModel, request_of
from openai_parallel_toolkit.calls.token_use import TokenUse
from openai_parallel_toolkit.core.records import Usage

REQUEST = request_of(ChatModel("m", content="some words " * 40))
LIMITED = request_of(ChatModel("m", content="some words " * 40, max_tokens=500))
OTHER = request_of(ChatModel("other", content="some words " * 40))


def after(answers, *, prompt=150, completion=200, request=REQUEST):
    use = TokenUse()
    for _ in range(answers):
        use.learn(request, Usage(prompt_tokens=prompt, completion_tokens=completion))
    return use


def test_a_few_answers_change_nothing():
    tokens = REQUEST.prompt_tokens + REQUEST.reply_tokens
    assert after(4).expected(REQUEST) == (tokens, REQUEST.reply_tokens)


def test_later_requests_of_the_model_are_expected_to_use_as_many_as_those_before():
    tokens, assumed = after(100).expected(REQUEST)
    assert tokens == pytest.approx(350, rel=0.05)
    assert tokens - assumed <= REQUEST.prompt_tokens
    assert after(100).expected(OTHER)[0] == OTHER.prompt_tokens + OTHER.reply_tokens


def test_a_reply_that_has_a_limit_counts_with_its_limit():
    tokens, _ = after(100, request=LIMITED).expected(LIMITED)
    assert tokens == pytest.approx(650, rel=0.05)


def test_few_replies_are_longer_than_is_expected_where_they_differ():
    use = TokenUse()
    lengths = [100 + 37 * (n % 17) for n in range(400)]
    for length in lengths:
        use.learn(REQUEST, Usage(prompt_tokens=150, completion_tokens=length))
    expected = use.expected(REQUEST)[0] - 150
    assert sum(length > expected for length in lengths) <= 0.1 * len(lengths)
    assert expected < 0.3 * REQUEST.reply_tokens


def test_models_that_answer_at_more_length_than_was_assumed_get_more():
    assert after(100, completion=20_000).expected(REQUEST)[0] >= 20_000
