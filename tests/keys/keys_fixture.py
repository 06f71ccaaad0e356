"""What the tests of the keys share."""

import random
import threading

from openai_parallel_toolkit.core.clock import FakeClock
from openai_parallel_toolkit.core.records import Need, Outcome, OutcomeKind, Usage
from openai_parallel_toolkit.core.redaction import Secret
from openai_parallel_toolkit.keys import APIKeyManager
from openai_parallel_toolkit.keys.config import APIKey, Settings

OK = Outcome(kind=OutcomeKind.OK, status=200)
DEAD = Outcome(kind=OutcomeKind.KEY_DEAD, status=401, code="invalid_api_key", message="no such key")
NOT_HERE = Outcome(kind=OutcomeKind.NOT_HERE, status=404)
OVERLOADED = Outcome(kind=OutcomeKind.BUSY, status=503)
UNSENT = Outcome(kind=OutcomeKind.UNSENT)


def limited(retry_after_s=None, **more):
    return Outcome(
        kind=OutcomeKind.BUSY, status=429, is_limit=True, retry_after_s=retry_after_s, **more
    )


def answered(prompt_tokens, completion_tokens, **more):
    usage = Usage(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
    return Outcome(kind=OutcomeKind.OK, status=200, usage=usage, **more)


def need(tokens=100, model="m", **more):
    return Need(model=model, tokens=tokens, **more)


def key(name, **limits):
    return APIKey(secret=Secret(f"sk-value-of-{name}", name), name=name, **limits)


#: Managers to close after the test.
MADE = []


def manager_of(*keys, clock=None, prices=None):
    """A manager of APIKey records, or of that many plain keys."""
    if len(keys) == 1 and isinstance(keys[0], int):
        keys = tuple(key(f"key-{number + 1}") for number in range(keys[0]))
    settings = Settings(api_keys=keys, prices=prices or {})
    manager = APIKeyManager(settings=settings, clock=clock or FakeClock(), random=random.Random(7))
    MADE.append(manager)
    return manager


def timers():
    return [thread for thread in threading.enumerate() if thread.name == "keys-timer"]


class Asked:
    """A request for a lease, and the news of it."""

    def __init__(self, manager, what=None):
        self.told = threading.Event()
        self.times_told = 0
        self.manager = manager
        self.request = manager.request(what or need(), self._on_ready)

    def _on_ready(self):
        self.times_told += 1
        self.told.set()

    @property
    def lease(self):
        return self.request.lease

    @property
    def key_name(self):
        return self.request.lease and self.request.lease.key_name

    def wait(self):
        assert self.told.wait(40), "never served"
        if self.request.error is not None:
            raise self.request.error
        return self.request.lease
