"""A reply that is larger than what is taken ends its call, and no door takes it in."""

import asyncio

import openai
import pytest
from provider_fixture import CHAT, provider
from wire_fixture import Ask

from openai_parallel_toolkit import ApiQueue, NoUsableKey, RequestFailed, openai_client
from openai_parallel_toolkit.cli.keycheck import check_keys
from openai_parallel_toolkit.keys.config import load_settings

LIMIT = 50_000
LARGE = {**CHAT, "padding": "x" * LIMIT}
DENIED = {"error": {"code": "invalid_api_key", "message": "no"}, "padding": "x" * 3_000_000}
TOLD = "it is larger than 50,000 bytes; if it is meant to be, raise max_reply_bytes"


class ThroughTheDoor(Ask):
    def process_data(self, data):
        messages = [{"role": "user", "content": data}]
        reply = openai_client().chat.completions.create(model="gpt-3.5-turbo", messages=messages)
        return reply.choices[0].message.content


def at(fixture, url):
    return fixture.configure_at(url, [{"key": "sk-one", "name": "one"}], max_reply_bytes=LIMIT)


@pytest.mark.parametrize("kind", [Ask, ThroughTheDoor])
def test_a_call_whose_reply_is_too_large_is_told_as_unknown_and_not_bought_again(fixture, kind):
    """It would be as large the next time."""
    fixture.inputs(2)
    with provider(lambda key, body: (200, LARGE)) as large:
        summary = at(fixture, large.url).run(kind)
        assert large.hits() == 2
    assert (summary.failed, summary.calls.unknown) == (2, 2)
    assert all(TOLD in line["message"] for line in fixture.failures(summary))


def test_what_is_just_small_enough_is_taken(fixture):
    fixture.inputs(2)
    with provider(lambda key, body: (200, {**CHAT, "padding": "x" * (LIMIT - 1_000)})) as small:
        assert at(fixture, small.url).run().done == 2


def test_a_refusal_of_any_size_is_judged_by_its_status(fixture):
    fixture.inputs(2)
    with provider(lambda key, body: (401, DENIED)) as denying:
        with pytest.raises(NoUsableKey, match="one: 401"):
            at(fixture, denying.url).run(num_threads=1)
        assert denying.hits() == 1


def test_a_queue_of_requests_does_not_take_it(fixture):
    with provider(lambda key, body: (200, LARGE)) as large:
        queue = ApiQueue(
            f"{large.url}/chat/completions",
            {"Authorization": "Bearer sk-one"},
            [{"model": "gpt-3.5-turbo", "messages": [{"role": "user", "content": "hello"}]}],
            max_reply_bytes=LIMIT,
        )
        with pytest.raises(RequestFailed, match="larger than 50,000 bytes"):
            asyncio.run(queue.run())
        assert large.hits() == 1


def test_what_is_only_passed_on_and_the_check_of_keys_do_not_take_it(fixture):
    large = provider(lambda key, body: (200, LARGE), gets=LARGE)
    with large as server:
        at(fixture, server.url)
        client = openai_client(config_path=str(fixture.config))
        with pytest.raises(openai.APIConnectionError):
            client.models.list()
        (health,) = check_keys(load_settings(fixture.config))
    assert (health.state, TOLD in health.detail) == ("unreachable", True)
