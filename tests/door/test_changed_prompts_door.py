"""Prompts that go through the openai package are looked at as all others are."""

import openai
import pytest
from door_fixture import MODEL, Hooks, chat, user

from openai_parallel_toolkit import (
    OpenAIModel,
    async_openai_client,
    openai_client,
    request_openai_api,
)


class Prompted(Hooks):
    prompt = "one"


class OfClient(Prompted):
    def process_data(self, data):
        return chat(openai_client(), f"{self.prompt} {data}")


class OfModule(Prompted):
    def process_data(self, data):
        reply = openai.chat.completions.create(model=MODEL, messages=user(f"{self.prompt} {data}"))
        return reply.choices[0].message.content


class OfAsync(Prompted):
    async def process_data(self, data):
        client = async_openai_client()
        asked = user(f"{self.prompt} {data}")
        reply = await client.chat.completions.create(model=MODEL, messages=asked)
        return reply.choices[0].message.content


class Own(OpenAIModel):
    def __init__(self, text):
        self.text = text

    def generate(self, client):
        return client.chat.completions.create(model=MODEL, messages=user(self.text))


class OfGenerate(Prompted):
    def process_data(self, data):
        return request_openai_api(Own(f"{self.prompt} {data}"))


@pytest.mark.parametrize("kind", [OfClient, OfModule, OfAsync, OfGenerate])
def test_a_changed_prompt_is_told_and_not_sent(door, caplog, monkeypatch, kind):
    sim = door.simulate()
    door.inputs(3).run(kind)
    assert door.run(kind).notices.changed_prompts == 0
    assert "differ" not in caplog.text
    monkeypatch.setattr(kind, "prompt", "two")
    assert door.run(kind).notices.changed_prompts == 3
    assert sim.ledger.billed("good") == 3


def test_nothing_at_all_is_sent_while_hooks_are_tried(door):
    lists = []

    class Lists(Prompted):
        def process_data(self, data):
            lists.append(openai_client().models.list())
            return chat(openai_client(), data)

    sim = door.simulate()
    door.inputs(2).run(Lists)
    assert len(lists) == 2
    door.run(Lists)
    door.run(Lists, dry_run=True, force=True)
    assert (len(lists), sim.ledger.billed("good")) == (2, 2)
