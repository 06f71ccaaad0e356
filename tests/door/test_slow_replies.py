"""What speaks through the door obeys the run's times: a reply that drips or never comes ends."""

import asyncio

import openai
import pytest
from door_fixture import MODEL, Hooks, chat, user

from openai_parallel_toolkit import (
    Gpt35Turbo,
    async_openai_client,
    openai_client,
    request_openai_api,
)
from openai_parallel_toolkit.simulator import Fault

SLOW = ["drip", "never"]


class Module(Gpt35Turbo):
    def generate(self):
        return chat(openai, self.content)


class Client(Gpt35Turbo):
    def generate(self, client):
        return chat(client, self.content)


class ModuleLevel(Hooks):
    def process_data(self, data):
        return request_openai_api(Module(content=data))


class OwnClient(Hooks):
    def process_data(self, data):
        return request_openai_api(Client(content=data))


class InAHook(Hooks):
    def process_data(self, data):
        return chat(openai, data)


class FromUs(Hooks):
    def process_data(self, data):
        return chat(openai_client(timeout=600), data)


class Awaited(Hooks):
    async def process_data(self, data):
        client = async_openai_client(timeout=600)
        reply = await client.chat.completions.create(model=MODEL, messages=user(data))
        return reply.choices[0].message.content


@pytest.mark.parametrize("kind", SLOW)
@pytest.mark.parametrize("hooks", [ModuleLevel, OwnClient, InAHook, FromUs, Awaited])
def test_request_timeout_s_ends_each_attempt(door, hooks, kind):
    sim = door.simulate(faults=[Fault(kind)])
    summary = door.inputs(2).run(hooks, request_timeout_s=0.5)
    assert (summary.done, summary.failed, summary.calls.unknown) == (0, 2, 4)
    assert sim.ledger.hits() == 4
    assert all("too long" in line["message"] for line in door.failures())


@pytest.mark.parametrize("hooks", [ModuleLevel, OwnClient])
def test_deadline_s_ends_the_call(door, hooks):
    sim = door.simulate(faults=[Fault("drip")])
    summary = door.inputs(1).run(hooks, deadline_s=0.8)
    assert (summary.failed, sim.ledger.hits()) == (1, 1)


def test_what_is_only_passed_on_ends_as_well(door):
    class Lists(Hooks):
        def process_data(self, data):
            try:
                return [one.id for one in openai_client().models.list()]
            except openai.APIConnectionError as exc:
                return str(exc.__cause__)

    door.simulate(faults=[Fault("drip", method="GET", path="/models")])
    assert door.inputs(1).run(Lists, request_timeout_s=0.5).done == 1
    assert "too long" in str(door.outputs())


def test_other_hooks_go_on_meanwhile(door):
    class Both(Hooks):
        async def process_data(self, data):
            client = async_openai_client()
            asks = (
                client.chat.completions.create(model=MODEL, messages=user(text))
                for text in ("slow", "quick")
            )
            ends = await asyncio.gather(*asks, return_exceptions=True)
            return [type(end).__name__ for end in ends]

    door.simulate(faults=[Fault("never", marker="slow")])
    assert door.inputs(2).run(Both, request_timeout_s=0.5).done == 2
    assert set(map(str, door.outputs().values())) == {str(["APIConnectionError", "ChatCompletion"])}
