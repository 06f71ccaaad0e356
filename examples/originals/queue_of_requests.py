"""Ready-made requests with a limit of tokens a minute, as in the first README.

Without a key: `openai-parallel-toolkit simulate --port 8123`, and then, beside it

    OPENAI_BASE_URL=http://127.0.0.1:8123/v1 OPENAI_API_KEY=sim-test python queue_of_requests.py
"""

import asyncio
import os

from openai_parallel_toolkit import ApiQueue

url = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1") + "/chat/completions"
headers = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
request_jsons = [
    {"model": "gpt-3.5-turbo", "messages": [{"role": "user", "content": f"Name {n} rivers."}]}
    for n in range(1, 6)
]


async def main():
    queue = ApiQueue(
        url, headers, request_jsons, ignore_error=None, rate_limit=40000.0, max_retries=10
    )
    out = await queue.run()
    for response in out:
        print(response["choices"][0]["message"]["content"])


asyncio.run(main())
