"""Async hooks: several requests of one file at a time, and hundreds of files on one thread.

Without a key: `openai-parallel-toolkit simulate --port 8123`, and then, beside it

    OPENAI_BASE_URL=http://127.0.0.1:8123/v1 OPENAI_API_KEY=sim-test python async_hooks.py
"""

import asyncio

from folder import MODEL, Briefs

from openai_parallel_toolkit import ChatModel, arequest_openai_api

QUESTIONS = ("What is it about?", "Who would read it?", "What is missing?")


class Interviews(Briefs):
    """Asks all questions about a text at once; input and output are as in folder.py."""

    async def process_data(self, text):
        asks = [arequest_openai_api(ChatModel(MODEL, content=text, prompt=q)) for q in QUESTIONS]
        return dict(zip(QUESTIONS, await asyncio.gather(*asks), strict=True))


if __name__ == "__main__":
    Interviews(None, "texts", "out/async_hooks", num_threads=200).run()
