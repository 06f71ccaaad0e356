"""Do everything that goes wrong under keys that must not show anywhere, and talk about it a lot."""

import json
import logging
import pickle
import sys
import traceback
from pathlib import Path

from openai_parallel_toolkit import (
    APIKeyManager,
    Gpt35Turbo,
    OpenAIModel,
    ParallelToolkit,
    ToolkitError,
    request_openai_api,
)
from openai_parallel_toolkit.calls.sender import Sender
from openai_parallel_toolkit.core.records import Need


class ThroughModule(OpenAIModel):
    def __init__(self, content):
        self.content = content

    def generate(self):
        import openai

        messages = [{"role": "user", "content": self.content}]
        reply = openai.chat.completions.create(model="gpt-4", messages=messages)
        return reply.choices[0].message.content


class ThroughClient(ThroughModule):
    def generate(self, client):
        messages = [{"role": "user", "content": self.content}]
        return client.chat.completions.create(model="gpt-4", messages=messages).to_dict()


class Child(ParallelToolkit):
    key = ""

    def process_input(self, file):
        return file.read()

    def process_data(self, data):
        if "hook-raises" in data:
            try:
                raise ValueError(f"my secret is {self.key}")
            except ValueError as exc:
                raise RuntimeError(f"Authorization: Bearer {self.key}", {"key": self.key}) from exc
        model = {"module": ThroughModule, "client": ThroughClient}.get(data.split()[0], Gpt35Turbo)
        return request_openai_api(model(content=data))

    def process_output(self, data, output_file_without_ext):
        with open(output_file_without_ext + ".json", "w") as out:
            json.dump(data, out)


def talk_about(manager):
    """Show everything that holds a key in every way that Python offers."""
    lease = manager.lease(Need(model="gpt-4", tokens=1))
    sender = Sender.of(manager)
    for thing in (manager, lease, manager.settings, manager.redactor, sender, manager.status()):
        print(repr(thing), str(thing), f"{thing}")
        try:
            print(pickle.dumps(thing))
        except Exception as exc:
            print("not pickled:", repr(exc))
    print(vars(manager), vars(sender), lease.secret, f"{lease.secret!s:>40}")
    try:
        request_openai_api(Gpt35Turbo(content="rejected please"), manager)
    except ToolkitError as exc:
        print(repr(exc), vars(exc), pickle.dumps(exc))
        traceback.print_exc()
    try:
        manager.add_key(f"{lease.secret.reveal()} with a blank")
    except ToolkitError:
        traceback.print_exc()


if __name__ == "__main__":
    config, source, target, logs = sys.argv[1:]
    logging.basicConfig(level=logging.DEBUG, filename=f"{logs}/users-own.log")
    logging.getLogger().addHandler(logging.StreamHandler())
    for name in ("openai", "httpx2", "httpcore2", "openai_parallel_toolkit", "aiohttp"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    Child.key = json.loads(Path(config).read_text())["api_keys"][0]["key"]
    manager = APIKeyManager(config_path=config)
    for _ in range(2):
        toolkit = Child(
            config,
            source,
            target,
            key_manager=manager,
            num_threads=4,
            max_retries=1,
            fail_on_error=False,
            log_file=f"{logs}/toolkit.log",
        )
        try:
            summary = toolkit.run()
            print(summary, summary.as_dict(), repr(summary))
        except ToolkitError:
            traceback.print_exc()
    talk_about(manager)
