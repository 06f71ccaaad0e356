"""Ready-made requests for embeddings, submitted and collected by hand."""

import asyncio
import os

from openai_parallel_toolkit import ApiQueue

url = os.environ["OPENAI_BASE_URL"] + "/embeddings"
headers = {
    "Content-Type": "application/json",
    "Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}",
}
request_jsons = [
    {"model": "text-embedding-ada-002", "input": text} for text in ("ebb", "flow", "tide")
]


async def main():
    queue = ApiQueue(
        url, headers, request_jsons, ignore_error=None, rate_limit=40e3, max_retries=10
    )
    while any(queue.todo):
        queue.submit_jobs()
        print(sorted(queue.api_jobs), len(queue.waiting_on))
        await queue.collect_jobs()
    print([len(response["data"][0]["embedding"]) for response in queue.out])


asyncio.run(main())
