"""Ask in every way that the library has, and show all that comes of it."""

import asyncio
import logging
import pickle
import traceback
from contextlib import closing

from echo_server import SCENARIOS, prompt
from hostile import SPELLINGS

from openai_parallel_toolkit import (
    APIKeyManager,
    ApiQueue,
    APIRequester,
    Gpt35Turbo,
    OpenAIModel,
    openai_client,
    request_openai_api,
)


class Own(OpenAIModel):
    """Sends by itself, and hands on the object that came."""

    def __init__(self, content):
        self.content = content

    def generate(self, client):
        messages = [{"role": "user", "content": self.content}]
        return client.chat.completions.create(model="gpt-4", messages=messages)


def door(manager, text):
    client = openai_client(manager, max_retries=0)
    messages = [{"role": "user", "content": text}]
    reply = client.chat.completions.with_raw_response.create(model="gpt-4", messages=messages)
    return dict(reply.headers), reply.status_code


def listed(manager, text):
    return openai_client(manager, max_retries=0).models.with_raw_response.list().headers


def requester(manager, text):
    asked = APIRequester("gpt-4", keys=manager, azure=False, progress=False, max_retries=0)
    return asked.get_multiple_responses([[{"role": "user", "content": text}]])


def api_queue(manager, text):
    lease = manager.unmetered_leases("gpt-4")[0]
    headers = {"Authorization": f"Bearer {lease.secret.reveal()}"}
    body = {"model": "gpt-4", "messages": [{"role": "user", "content": text}]}
    queue = ApiQueue(f"{lease.api_base}/chat/completions", headers, [body], max_retries=0)
    try:
        asyncio.run(queue.run())
    finally:
        told = (queue, queue.errors, queue.headers)
        print(repr(told), [None if one is None else list(one) for one in queue.out])


WAYS = {
    "single": lambda manager, text: request_openai_api(
        Gpt35Turbo(content=text), manager, max_retries=0
    ),
    "own": lambda manager, text: request_openai_api(Own(content=text), manager, max_retries=0),
    "door": door,
    "listed": listed,
    "requester": requester,
    "queue": api_queue,
}


def show(error):
    """All that a program may do with an error."""
    print(repr(error), str(error), getattr(error, "__dict__", None))
    traceback.print_exception(error)
    response = getattr(error, "response", None)
    if response is not None:
        print(dict(response.headers), response.text, response.extensions)
    try:
        print(pickle.dumps(error))
    except Exception as exc:
        print("not pickled:", type(exc))


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG, filename="users-own.log")
    logging.getLogger().addHandler(logging.StreamHandler())
    spellings = list(SPELLINGS)
    for way, ask in WAYS.items():
        for n, scenario in enumerate(SCENARIOS):
            with closing(APIKeyManager(config_path="live.config")) as manager:
                try:
                    told = ask(manager, prompt(scenario, spellings[n % 6]))
                    print(way, scenario, "its own" if way == "own" else told)
                except Exception as exc:
                    show(exc)
                print(manager.status(), manager.dropped())
