"""Every way of asking through the openai package, each with a value that depends on the text."""

import asyncio
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import openai
from door_fixture import MODEL, Hooks, recording, user
from pydantic import BaseModel

from openai_parallel_toolkit import CarryingPool, async_openai_client, openai_client


class Answer(BaseModel):
    """What `parse` is asked for."""

    answer: str


TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {},
            "required": [],
            "additionalProperties": False,
        },
    },
}
SIZES = {"dimensions": 3}


@dataclass(frozen=True)
class Ask:
    """One way of asking, for clients of both kinds."""

    call: Callable[[Any, str], Any]
    #: Makes a value of the reply, of a stream's events, or of what a helper's block is given.
    read: Callable[[Any], Any]

    def __call__(self, client, text):
        reply = self.call(client, text)
        if isinstance(reply, openai.Stream):
            reply = list(reply)
        elif hasattr(reply, "__enter__"):
            with reply as stream:
                reply = _final(stream)()
        return self.read(reply)

    async def ask_async(self, client, text):
        reply = self.call(client, text)
        if hasattr(reply, "__aenter__"):
            async with reply as stream:
                return self.read(await _final(stream)())
        reply = await reply
        if isinstance(reply, openai.AsyncStream):
            reply = [event async for event in reply]
        return self.read(reply)


def _final(stream):
    return getattr(stream, "get_final_completion", None) or stream.get_final_response


def _chat(**options):
    return lambda client, text: client.chat.completions.create(
        model=MODEL, messages=user(text), **options
    )


def _content(reply):
    return reply.choices[0].message.content


def _said(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def _with_usage(chunks):
    assert chunks[-1].usage.total_tokens > 0
    return _said(chunks)


def _tool(reply):
    (call,) = reply.choices[0].message.tool_calls
    return [call.function.name, json.loads(call.function.arguments)]


def _events(events):
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].response.output_text == said
    return said


ASKS = {
    "chat": Ask(_chat(), _content),
    "tools": Ask(_chat(tools=[TOOL]), _content),
    "tool call": Ask(_chat(tools=[TOOL], tool_choice="required"), _tool),
    "parse": Ask(
        lambda client, text: client.chat.completions.parse(
            model=MODEL, messages=user(text), response_format=Answer
        ),
        lambda reply: reply.choices[0].message.parsed.answer,
    ),
    "stream": Ask(_chat(stream=True), _said),
    "stream with usage": Ask(
        _chat(stream=True, stream_options={"include_usage": True}), _with_usage
    ),
    "stream helper": Ask(
        lambda client, text: client.chat.completions.stream(model=MODEL, messages=user(text)),
        _content,
    ),
    "tool helper": Ask(
        lambda client, text: client.chat.completions.stream(
            model=MODEL, messages=user(text), tools=[TOOL], tool_choice="required"
        ),
        _tool,
    ),
    "responses": Ask(
        lambda client, text: client.responses.create(model=MODEL, input=text),
        lambda reply: reply.output_text,
    ),
    "responses stream": Ask(
        lambda client, text: client.responses.create(model=MODEL, input=text, stream=True), _events
    ),
    "responses parse": Ask(
        lambda client, text: client.responses.parse(model=MODEL, input=text, text_format=Answer),
        lambda reply: reply.output_parsed.answer,
    ),
    "responses helper": Ask(
        lambda client, text: client.responses.stream(model=MODEL, input=text, text_format=Answer),
        lambda reply: reply.output_parsed.answer,
    ),
    "embeddings": Ask(
        lambda client, text: client.embeddings.create(
            model="text-embedding-3-small", input=text, **SIZES
        ),
        lambda reply: reply.data[0].embedding,
    ),
    "transcription": Ask(
        lambda client, text: client.audio.transcriptions.create(
            model="whisper-1", file=recording(text)
        ),
        lambda reply: reply.text,
    ),
    "speech": Ask(
        lambda client, text: client.audio.speech.create(model="tts-1", voice="alloy", input=text),
        lambda reply: reply.content.hex(),
    ),
    "image": Ask(
        lambda client, text: client.images.generate(model="gpt-image-1", prompt=text),
        lambda reply: reply.data[0].b64_json,
    ),
    "moderation": Ask(
        lambda client, text: client.moderations.create(input=text),
        lambda reply: reply.results[0].flagged,
    ),
}
#: What the Batch API does not take.
NOT_BATCHED = {"transcription", "speech"}


def blocking(name):
    """Return the way of asking, through the blocking client."""
    return lambda text: ASKS[name](openai_client(), text)


def awaited(name):
    """Return the way of asking, through the async client."""

    async def ask(text):
        return await ASKS[name].ask_async(async_openai_client(), text)

    return ask


def at_module_level(name):
    """Return the way of asking, without a client."""
    return lambda text: ASKS[name](openai, text)


#: By door, functions of a text; those of an async door are async.
OPENAI_DOORS = {
    "openai": {name: blocking(name) for name in ASKS},
    "openai async": {name: awaited(name) for name in ASKS},
    "openai module": {name: at_module_level(name) for name in ASKS},
}


def asking(asks, at_a_time=4):
    """Hooks that ask in all the ways; in an async hook if all of them are async."""

    class Asks(Hooks):
        def process_data(self, data):
            with CarryingPool(at_a_time) as pool:
                asked = {
                    name: pool.submit(_value, ask, f"{data}, {name}") for name, ask in asks.items()
                }
            return {name: future.result() for name, future in asked.items()}

    class AsyncAsks(Hooks):
        async def process_data(self, data):
            room = asyncio.Semaphore(at_a_time)

            async def value(name):
                async with room:
                    return await asks[name](f"{data}, {name}")

            return dict(zip(asks, await asyncio.gather(*map(value, asks)), strict=True))

    return AsyncAsks if all(map(inspect.iscoroutinefunction, asks.values())) else Asks


def _value(ask, text):
    value = ask(text)
    return asyncio.run(value) if inspect.iscoroutine(value) else value
