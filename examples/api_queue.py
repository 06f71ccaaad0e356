"""Ready-made requests to one address, so many tokens a minute, on your own event loop.

Without a key: `openai-parallel-toolkit simulate --port 8123`, and then, beside it

    OPENAI_BASE_URL=http://127.0.0.1:8123/v1 OPENAI_API_KEY=sim-test python api_queue.py
"""

import asyncio
import os

from openai_parallel_toolkit import ApiQueue, RequestFailed

MODEL = os.environ.get("MODEL", "text-embedding-3-small")
WORDS = ("harbour", "lighthouse", "compass", "anchor", "bread")


async def main():
    base = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1")
    queue = ApiQueue(
        url=f"{base}/embeddings",  # or /chat/completions
        headers={"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"},
        request_jsons=[{"model": MODEL, "input": word} for word in WORDS],
        ignore_error=lambda text: "content_filter" in text,  # an empty answer stands in
        rate_limit=40_000,
        max_retries=3,
    )
    try:
        out = await queue.run()
    except RequestFailed as error:
        print(error)
        out = queue.out  # what was answered; `await queue.run()` would go on with the rest
    for word, response in zip(WORDS, out, strict=True):
        vector = response["data"][0]["embedding"] if response and response["data"] else []
        print(f"{word}: {len(vector)} numbers")


asyncio.run(main())
