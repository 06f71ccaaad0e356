"""What tests of the door ask, and a folder whose config names the last simulator's keys."""

import contextlib
import io

from toolkit_fixture import Hooks, ToolkitFixture

from openai_parallel_toolkit import APIKeyManager

__all__ = ["MODEL", "DoorFixture", "Hooks", "chat", "recording", "user"]
MODEL = "gpt-4o-mini"


class DoorFixture(ToolkitFixture):
    """One test's folder; each simulator's keys are the config's from then on."""

    def simulate(self, *names, **settings):
        sim = super().simulate(*names, **settings)
        self.configure(sim)
        return sim

    def keys(self):
        return self._stack.enter_context(contextlib.closing(APIKeyManager(config_path=self.config)))

    def outputs(self):
        return {name.removesuffix(".json"): value for name, value in super().outputs().items()}


def user(text):
    return [{"role": "user", "content": text}]


def chat(client, text):
    reply = client.chat.completions.create(model=MODEL, messages=user(text))
    return reply.choices[0].message.content


def recording(text):
    return ("speech.wav", io.BytesIO(text.encode() * 100), "audio/wav")
