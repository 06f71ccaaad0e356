"""A key that is lent to code which sends by other means."""

import json
import urllib.error
import urllib.request

import pytest
from door_fixture import MODEL, user

from openai_parallel_toolkit import APIKeyManager, NoUsableKey
from openai_parallel_toolkit.core.clock import FakeClock
from openai_parallel_toolkit.simulator import Fault, SimKey


def send(key):
    body = json.dumps({"model": MODEL, "messages": user("hello")}).encode()
    headers = {"Authorization": f"Bearer {key.secret.reveal()}"}
    url = f"{key.api_base}/chat/completions"
    with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as reply:
        return json.load(reply)["choices"][0]["message"]["content"]


def test_a_lent_key_sends_and_comes_back(door):
    sim = door.simulate("a", "b")
    keys = door.keys()
    for _ in range(4):
        with keys.lend(MODEL, tokens=100) as key:
            assert send(key) == "hello"
    assert (sim.ledger.billed("a"), sim.ledger.billed("b")) == (2, 2)
    assert [(status.in_flight, status.requests) for status in keys.status()] == [(0, 2)] * 2


@pytest.mark.parametrize(
    ("key", "faults", "state"),
    [
        (SimKey("one", valid=False), [], "dropped"),
        ("one", [Fault("429")], "cooling"),
        ("one", [Fault("400")], "alive"),
        ("one", [Fault("reset_before")], "alive"),
    ],
    ids=["401", "429", "400", "reset"],
)
def test_how_the_block_ends_settles_the_key(door, key, faults, state):
    door.simulate(key, faults=faults)
    keys = APIKeyManager(config_path=door.config, clock=FakeClock())
    with pytest.raises(OSError), keys.lend(MODEL) as lent:
        send(lent)
    (status,) = keys.status()
    assert (status.state, status.in_flight) == (state, 0)
    if state == "dropped":
        with pytest.raises(NoUsableKey), keys.lend(MODEL):
            pass
    keys.close()
