"""Ways of asking through the openai package, and through libraries that are built on it.

Each function imports its library, so that those who have it not can import this.
"""

import asyncio

from door_fixture import MODEL, recording, user
from openai_asks import OPENAI_DOORS, Answer

from openai_parallel_toolkit import (
    AsyncDurableTransport,
    DurableTransport,
    async_openai_client,
    openai_client,
)

_EMBEDS = "text-embedding-3-small"


def _instructor(**options):
    def ask(text):
        import instructor

        return (
            instructor.from_openai(openai_client(), **options)
            .chat.completions.create(
                model=MODEL, messages=user(text), response_model=Answer, max_retries=0
            )
            .answer
        )

    return ask


def _instructor_json(text):
    import instructor

    return _instructor(mode=instructor.Mode.JSON_SCHEMA)(text)


async def _instructor_async(text):
    import instructor

    client = instructor.from_openai(async_openai_client())
    asked = {"model": MODEL, "messages": user(text), "response_model": Answer, "max_retries": 0}
    return (await client.chat.completions.create(**asked)).answer


def _instructor_partial(text):
    import instructor

    client = instructor.from_openai(openai_client())
    asked = {"model": MODEL, "messages": user(text), "response_model": Answer, "max_retries": 0}
    return list(client.chat.completions.create_partial(**asked))[-1].answer


def _agent(model_name, **options):
    from pydantic_ai import Agent
    from pydantic_ai.models import openai as models
    from pydantic_ai.providers.openai import OpenAIProvider

    provider = OpenAIProvider(openai_client=async_openai_client())
    return Agent(getattr(models, model_name)(MODEL, provider=provider), **options)


async def _pydantic_ai_chat(text):
    return (await _agent("OpenAIChatModel").run(text)).output


def _pydantic_ai_sync(text):
    return _loop_closed(lambda: _agent("OpenAIChatModel").run_sync(text).output)


async def _pydantic_ai_output(text):
    return (await _agent("OpenAIChatModel", output_type=Answer).run(text)).output.answer


async def _pydantic_ai_stream(text):
    async with _agent("OpenAIChatModel").run_stream(text) as result:
        return await result.get_output()


async def _pydantic_ai_responses(text):
    return (await _agent("OpenAIResponsesModel").run(text)).output


async def _pydantic_ai_responses_stream(text):
    async with _agent("OpenAIResponsesModel").run_stream(text) as result:
        return await result.get_output()


def _loop_closed(run):
    """Run what leaves an event loop of this thread open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return run()
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _chain(**options):
    import langchain_openai

    from openai_parallel_toolkit.transport.openai_http import httpx

    return langchain_openai.ChatOpenAI(
        model=MODEL,
        api_key="not used",
        max_retries=0,
        http_client=httpx.Client(transport=DurableTransport()),
        http_async_client=httpx.AsyncClient(transport=AsyncDurableTransport()),
        **options,
    )


def _chain_over_clients(text):
    import langchain_openai

    model = langchain_openai.ChatOpenAI(
        model=MODEL,
        api_key="not used",
        root_client=openai_client(),
        client=openai_client().chat.completions,
        async_client=async_openai_client().chat.completions,
    )
    return model.invoke(text).content


async def _chain_async(text):
    return (await _chain().ainvoke(text)).content


def _chain_embeds(text):
    import langchain_openai

    from openai_parallel_toolkit.transport.openai_http import httpx

    model = langchain_openai.OpenAIEmbeddings(
        model=_EMBEDS,
        api_key="not used",
        dimensions=3,
        max_retries=0,
        check_embedding_ctx_length=False,
        http_client=httpx.Client(transport=DurableTransport()),
    )
    return model.embed_query(text)


def _sdk_agent(model_name, **options):
    import agents

    agents.set_tracing_disabled(True)
    model = getattr(agents, model_name)(MODEL, async_openai_client())
    return agents.Agent(name="titles", instructions="Give titles.", model=model, **options)


async def _agents_responses(text):
    from agents import Runner

    return (await Runner.run(_sdk_agent("OpenAIResponsesModel"), text)).final_output


async def _agents_chat(text):
    from agents import Runner

    return (await Runner.run(_sdk_agent("OpenAIChatCompletionsModel"), text)).final_output


async def _agents_output(text):
    from agents import Runner

    agent = _sdk_agent("OpenAIResponsesModel", output_type=Answer)
    return (await Runner.run(agent, text)).final_output.answer


async def _agents_stream(text):
    from agents import Runner

    run = Runner.run_streamed(_sdk_agent("OpenAIResponsesModel"), text)
    async for _ in run.stream_events():
        pass
    return run.final_output


def _agents_sync(text):
    from agents import Runner

    agent = _sdk_agent("OpenAIChatCompletionsModel")
    return _loop_closed(lambda: Runner.run_sync(agent, text).final_output)


def _litellm(text):
    import litellm

    reply = litellm.completion(f"openai/{MODEL}", user(text), client=openai_client())
    return reply.choices[0].message.content


async def _litellm_async(text):
    import litellm

    reply = await litellm.acompletion(f"openai/{MODEL}", user(text), client=async_openai_client())
    return reply.choices[0].message.content


def _litellm_stream(text):
    import litellm

    chunks = litellm.completion(f"openai/{MODEL}", user(text), client=openai_client(), stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def _litellm_embeds(text):
    import litellm

    reply = litellm.embedding(f"openai/{_EMBEDS}", [text], client=openai_client(), dimensions=3)
    return reply.data[0]["embedding"]


def _litellm_transcribes(text):
    import litellm

    return litellm.transcription("openai/whisper-1", recording(text), client=openai_client()).text


def _litellm_image(text):
    import litellm

    return (
        litellm.image_generation(text, "openai/gpt-image-1", client=openai_client())
        .data[0]
        .b64_json
    )


def _llama_index(text):
    from llama_index.llms.openai import OpenAI

    from openai_parallel_toolkit.transport.openai_http import httpx

    http = httpx.Client(transport=DurableTransport())
    return str(OpenAI(MODEL, api_key="not used", http_client=http, max_retries=0).complete(text))


#: By the library's module, or another name for ways of the openai package, functions of a text.
DOORS = {
    **OPENAI_DOORS,
    "instructor": {
        "tools": _instructor(),
        "json": _instructor_json,
        "async": _instructor_async,
        "partial": _instructor_partial,
    },
    "pydantic_ai": {
        "chat": _pydantic_ai_chat,
        "sync": _pydantic_ai_sync,
        "output": _pydantic_ai_output,
        "stream": _pydantic_ai_stream,
        "responses": _pydantic_ai_responses,
        "responses stream": _pydantic_ai_responses_stream,
    },
    "langchain_openai": {
        "chat": lambda text: _chain().invoke(text).content,
        "responses": lambda text: _chain(use_responses_api=True).invoke(text).text,
        "stream": lambda text: "".join(chunk.content for chunk in _chain().stream(text)),
        "output": lambda text: _chain().with_structured_output(Answer).invoke(text).answer,
        "clients": _chain_over_clients,
        "async": _chain_async,
        "embeddings": _chain_embeds,
    },
    "agents": {
        "responses": _agents_responses,
        "chat": _agents_chat,
        "output": _agents_output,
        "stream": _agents_stream,
        "sync": _agents_sync,
    },
    "litellm": {
        "chat": _litellm,
        "async": _litellm_async,
        "stream": _litellm_stream,
        "embeddings": _litellm_embeds,
        "transcription": _litellm_transcribes,
        "image": _litellm_image,
    },
    "llama_index": {"chat": _llama_index},
}
