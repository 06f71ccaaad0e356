"""Lists of messages in, answers out, with limits a minute and a budget; on Azure by default.

Without a key: `openai-parallel-toolkit simulate --port 8123`, and then, beside it

    export AZURE_OPENAI_API_KEY=sim-test AZURE_OPENAI_ENDPOINT=http://127.0.0.1:8123
    OPENAI_API_VERSION=2024-10-21 python api_requester.py

`azure=False` takes OpenAI's key, or that of any other server, as in the other examples.
"""

import os

from openai_parallel_toolkit import APIRequester

MODEL = os.environ.get("MODEL", "gpt-4o-mini")
SYSTEM = {"role": "system", "content": 'Calculate. Answer as JSON: {"answer": ...}'}


class Sums(APIRequester):
    """Puts the reason in the place of an answer that there is not."""

    def handle_retry_error(self, error):
        return {"answer": None, "why": type(error).__name__}


sums = [[SYSTEM, {"role": "user", "content": f"What is {n} + {n}?"}] for n in range(40)]
with Sums(
    MODEL,
    temperature=0,
    max_tokens=20,
    rate_limit=600,  # requests a minute
    token_rate_limit=100_000,
    json_output=True,
    response_format={"type": "json_object"},
) as api:
    for result in api.get_responses_parallel(sums)[:3]:
        print(result["input"], result["content"]["answer"])
