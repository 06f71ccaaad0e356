"""A model of your own: `generate` calls the openai package, which sends under the toolkit's keys.

Each request in it is kept like any other, a stream as well: it is read whole, then shown.

Without a key: `openai-parallel-toolkit simulate --port 8123`, and then, beside it

    OPENAI_BASE_URL=http://127.0.0.1:8123/v1 OPENAI_API_KEY=sim-test python own_generate.py
"""

import os

from openai_parallel_toolkit import OpenAIModel, request_openai_api

MODEL = os.environ.get("MODEL", "gpt-4o-mini")


class Streamed(OpenAIModel):
    """Shows an answer part by part."""

    def __init__(self, question):
        self.question = question

    def generate(self, client):  # a ready openai client
        ask = {"role": "user", "content": self.question}
        answer = ""
        for chunk in client.chat.completions.create(model=MODEL, messages=[ask], stream=True):
            part = chunk.choices[0].delta.content if chunk.choices else None
            if part:
                print(part, end="", flush=True)
                answer += part
        print()
        return answer


for question in ("Why is the sea salt?", "Why is the sky blue?"):
    request_openai_api(Streamed(question), journal="out/own_generate")
