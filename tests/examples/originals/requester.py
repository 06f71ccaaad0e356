"""Many short questions, all at once."""

from openai_parallel_toolkit import APIRequester

message_sequences = []
for i in range(1, 101):
    message_sequences.append(
        [
            {
                "role": "system",
                "content": "You add. Always answer in the following json format: {'content': '2'}.",
            },
            {"role": "user", "content": f"How much is {i} + {i}?"},
        ]
    )

gpt35_turbo_api = APIRequester(
    model_name="gpt-35-turbo",
    temperature=1.0,
    max_tokens=20,
    rate_limit=100,
    token_rate_limit=10000,
)
results = gpt35_turbo_api.get_responses_parallel(message_sequences)
print(results[:2])
print([result["content"] for result in results] == [str(2 * i) for i in range(1, 101)])
