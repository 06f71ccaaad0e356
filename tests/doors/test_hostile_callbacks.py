"""What a user's own callbacks raise ends in their caller's hands, and never in a loop."""

import asyncio

import pytest
from doors_fixture import azure_key, prompts

from openai_parallel_toolkit import (
    APIKeyManager,
    ApiQueue,
    APIRequester,
    ChatModel,
    UsageError,
    multi_process_one,
)
from openai_parallel_toolkit.simulator import Fault, Simulator


class Silent(Exception):
    """Says nothing of itself, and is nobody's equal."""

    def __str__(self):
        raise ValueError

    __repr__ = __eq__ = __bool__ = __str__
    __hash__ = None


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Silent, Silent),
        (ValueError, ValueError),
        (GeneratorExit, GeneratorExit),
        (asyncio.CancelledError, UsageError),
    ],
)
def test_what_ignore_error_raises_ends_the_queue_and_nothing_is_sent_for_ever(error, told):
    def ignore(text):
        raise error

    with Simulator() as sim:
        sim.script.replace([Fault("400", path="/chat/completions")])
        bodies = [{"model": "gpt-4o-mini", "messages": messages} for messages in prompts(3)]
        headers = {"Authorization": f"Bearer {sim.keys[0].secret}"}
        queue = ApiQueue(f"{sim.url}/chat/completions", headers, bodies, ignore, rate_limit=1e9)
        with pytest.raises(told):
            asyncio.run(queue.run())
        assert sim.ledger.hits() <= 3


@pytest.mark.parametrize("error", [Silent, SystemExit])
def test_what_handle_retry_error_raises_stops_the_list(error):
    class Strict(APIRequester):
        def handle_retry_error(self, failed):
            raise error

    with Simulator() as sim:
        sim.script.replace([Fault("400", path="/chat/completions")])
        with (
            Strict("gpt-4o-mini", keys=azure_key(sim), progress=False) as api,
            pytest.raises(error),
        ):
            api.get_responses_parallel(prompts(3))


def test_what_an_overridden_get_response_raises_is_told_whatever_it_says(caplog):
    class Own(APIRequester):
        def get_response(self, messages):
            raise Silent

    with Simulator() as sim, Own("gpt-4o-mini", keys=azure_key(sim), progress=False) as api:
        assert [one["content"] for one in api.get_responses_parallel(prompts(2))] == [None, None]
    assert "2 of 2 prompts got no answer; the first: (its __str__ raised ValueError)" in caplog.text


def test_a_payload_that_raises_costs_its_own_item_alone():
    class Picky(ChatModel):
        def __init__(self, prompt, content):
            super().__init__("gpt-4o-mini", content=content)

        def payload(self):
            if self.messages[0]["content"] == "bad":
                raise Silent
            return super().payload()

    rows = [("", "good"), ("", "bad"), ("", "also good")]
    with Simulator() as sim:
        keys = APIKeyManager([{"key": "sim-test", "api_base": sim.url}])
        found = multi_process_one(rows, Picky, keys=keys, return_exceptions=True)
        assert [type(one) for one in found] == [str, Silent, str]
        with pytest.raises(Silent):
            multi_process_one(rows, Picky, keys=keys)
        assert sim.ledger.billed() == 4
        keys.close()
