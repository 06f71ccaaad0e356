"""A server that does nothing but fail: after `max_retries` it is a RuntimeError."""

import asyncio
import os

from openai_parallel_toolkit import ApiQueue

url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
headers = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
request_json = {"model": "gpt-4", "messages": [{"role": "user", "content": "Is it broken?"}]}

queue = ApiQueue(url, headers, [request_json], max_retries=1)
try:
    asyncio.run(queue.run())
except RuntimeError:
    print("stopped:", queue.errors[0] is not None, queue.out, queue.request_jsons == [request_json])
