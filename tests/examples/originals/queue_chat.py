"""Ready-made chat requests, by tokens a minute."""

import asyncio
import os

import openai

from openai_parallel_toolkit import ApiQueue

openai.api_key = os.environ["OPENAI_API_KEY"]
URL = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
HEADERS = {
    "Content-Type": "application/json",
    "Authorization": f"Bearer {openai.api_key}",
    "api-key": f"{openai.api_key}",
}


async def ask(queries):
    all_request_jsons = []
    for query in queries:
        msg = [
            {"role": "system", "content": "You know rivers."},
            {"role": "user", "content": query},
        ]
        all_request_jsons.append({"model": "gpt-3.5-turbo", "messages": msg, "temperature": 0.0})

    api_queue = ApiQueue(
        URL,
        HEADERS,
        all_request_jsons,
        ignore_error=lambda text: "content_filter" in text,
        rate_limit=40e3,
    )
    out = await api_queue.run()

    for i, response in enumerate(out):
        choice = response.get("choices", [{"message": {"content": ""}}])[0]
        message = choice.get("message", {"content": ""})
        content = message.get("content", "")
        if not any(content):
            print(f"nothing for query {i + 1}: {'error' in api_queue.errors[i]}")
        else:
            out[i] = content
    print(len(api_queue), any(api_queue.todo), list(api_queue.tries))
    return out


print(asyncio.run(ask(["Where is the Rhine?", "Where is the [[refused]]?", "Where is the Po?"])))
