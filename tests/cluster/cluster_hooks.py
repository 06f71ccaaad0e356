"""Hooks that tests run in worker processes: they import this module, or get it by value."""

import asyncio
import json
import logging
import os
import signal
import time

from openai_parallel_toolkit import (
    APIKeyManager,
    CarryingPool,
    Gpt35Turbo,
    OpenAIModel,
    ParallelToolkit,
    append_line,
    arequest_openai_api,
    current_file,
    openai_client,
    request_openai_api,
)


class Hooks(ParallelToolkit):
    """Reads a text and writes JSON."""

    def process_input(self, file):
        return file.read()

    def process_data(self, data):
        raise NotImplementedError

    def process_output(self, data, output_file_without_ext):
        with open(output_file_without_ext + ".json", "w") as out:
            json.dump(data, out)


class Thrice(Hooks):
    """Asks three questions a file."""

    def process_data(self, data):
        return [request_openai_api(Gpt35Turbo(content=f"{n}: {data}")) for n in range(3)]


class ThriceAsync(Hooks):
    async def process_data(self, data):
        asks = [arequest_openai_api(Gpt35Turbo(content=f"{n}: {data}")) for n in range(3)]
        return await asyncio.gather(*asks)


class OwnModel(OpenAIModel):
    def __init__(self, text):
        self.text = text

    def generate(self, client):
        messages = [{"role": "user", "content": self.text}]
        return client.chat.completions.create(model="gpt-3.5-turbo", messages=messages)


class EveryDoor(Hooks):
    """Asks through the package's function, the openai client, `generate` and a pool."""

    def process_data(self, data):
        said = [{"role": "user", "content": data}]
        ask = openai_client().chat.completions.create
        with CarryingPool(2) as pool:
            pooled = pool.submit(request_openai_api, Gpt35Turbo(content=f"pool {data}")).result()
        append_line("index.csv", current_file().name)
        return [
            request_openai_api(Gpt35Turbo(content=f"plain {data}")),
            ask(model="gpt-3.5-turbo", messages=said).choices[0].message.content,
            request_openai_api(OwnModel(f"own {data}")),
            pooled,
        ]


class Mixed(Hooks):
    """Does what the name of its file says."""

    def process_data(self, data):
        return getattr(self, current_file().name.removesuffix(".txt"))(data)

    def prints(self, data):
        print("printed", data)
        return os.getpid()

    def logs(self, data):
        logging.getLogger("users.own").warning("logged %s", data)

    def raises(self, data):
        raise ValueError(f"cannot do {data}")

    def kills(self, data):
        os.kill(os.getpid(), signal.SIGTERM)  # which is the head's to heed
        os.kill(os.getpid(), signal.SIGABRT)

    def forks(self, data):
        if os.fork():
            os._exit(3)  # while the fork holds all that was open
        time.sleep(2)
        os._exit(0)

    def hangs(self, data):
        while True:
            time.sleep(0.05)

    def has_keys(self, data):
        return request_openai_api(Gpt35Turbo(content=data), keys=["sk-own-0000000"])

    def makes_manager(self, data):
        return str(APIKeyManager())

    def looks(self, data):
        with open("/proc/self/environ", "rb") as environ, open("/proc/self/cmdline", "rb") as line:
            return str([environ.read(), line.read(), dict(os.environ)])

    def asks(self, data):
        return request_openai_api(Gpt35Turbo(content=data))


class SlowThrice(Thrice):
    """Leaves time to be killed in."""

    def process_data(self, data):
        time.sleep(0.02)
        return super().process_data(data)
