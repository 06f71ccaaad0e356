"""One request, in two lines: keys, limits and retries are taken care of.

Without a key: `openai-parallel-toolkit simulate --port 8123`, and then, beside it

    OPENAI_BASE_URL=http://127.0.0.1:8123/v1 OPENAI_API_KEY=sim-test python one_call.py
"""

from openai_parallel_toolkit import Gpt35Turbo, request_openai_api

print(request_openai_api(Gpt35Turbo(content="Name three rivers.", prompt="Answer in a line.")))
