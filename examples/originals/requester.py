"""Lists of messages on Azure, as in the first README, which uses three names for one class.

The system prompt asks for {"content": ...}, so the content is what stands in that.

Without a key: `openai-parallel-toolkit simulate --port 8123`, and then, beside it

    export AZURE_OPENAI_API_KEY=sim-test AZURE_OPENAI_ENDPOINT=http://127.0.0.1:8123
    python requester.py
"""

from openai_parallel_toolkit import APIPlayer, APIRequester, APIRequestor

FORM = (
    "You are a helpful AI assistant.  Always answer in the following json format: {'content': '2'}."
)
message_sequences = [
    [
        {"role": "system", "content": FORM},
        {"role": "user", "content": f"What is {n} + {n}?"},
    ]
    for n in (53, 100, 7)
]
gpt35_turbo_api = APIRequester(
    model_name="gpt-35-turbo", temperature=1.0, max_tokens=20, rate_limit=100
)
results = gpt35_turbo_api.get_responses_parallel(message_sequences)
print(results[:2])

for name in (APIRequestor, APIPlayer):
    assert name is APIRequester
