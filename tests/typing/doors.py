"""APIRequester and ApiQueue as a user writes them; checked by mypy --strict and never run."""

from decimal import Decimal
from typing import Any

from openai_parallel_toolkit import (
    APIKeyManager,
    APIPlayer,
    ApiQueue,
    APIRequester,
    APIRequestor,
)

Messages = list[dict[str, str]]


class Marked(APIRequester):
    def handle_retry_error(self, error: Exception) -> str:
        return str(error)


def lists(message_sequences: list[Messages], manager: APIKeyManager) -> list[dict[str, Any]]:
    APIRequestor("gpt-35-turbo", rate_limit=100, keys=["a key"])
    APIPlayer("gpt-4o-mini", azure=False, config_path="config.json", top_p=0.5)
    with Marked("gpt-35-turbo", 1.0, 20, 100, keys=manager, budget=Decimal(2)) as api:
        return api.get_responses_parallel(message_sequences)


async def queued(url: str, bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    queue = ApiQueue(url, {"api-key": "..."}, bodies, lambda text: "filter" in text, 40e3, 10)
    queue.submit_jobs()
    await queue.collect_jobs()
    print(queue.out, queue.errors, queue.tries, queue.waiting_on)
    return await queue.run()
