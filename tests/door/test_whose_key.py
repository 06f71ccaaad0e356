"""Under which key, to which address and by which way calls of the openai package go out."""

import json
import os
import sys
import threading
from contextlib import closing

import openai
import pytest
from door_fixture import MODEL, Hooks, chat, user
from provider_fixture import CHAT, provider

from openai_parallel_toolkit import (
    APIKeyManager,
    APIRequester,
    CarryingPool,
    NoUsableKey,
    OpenAIModel,
    UsageError,
    multi_process_one,
    openai_client,
    request_openai_api,
)
from openai_parallel_toolkit.simulator import Fault

THREADS = 50
ORGANISATION = {"OPENAI_ORG_ID": "org-other", "OPENAI_PROJECT_ID": "proj-other"}


class Own(OpenAIModel):
    """Calls the module-level client, as programs of old do."""

    def __init__(self, prompt, content):
        self.content = content

    def generate(self):
        return openai.chat.completions.create(model=MODEL, messages=user(self.content))


def by_generate(texts, keys, door):
    return multi_process_one([("", text) for text in texts], Own, threads=THREADS, keys=keys)


def in_a_hook(texts, keys, door):
    class Asks(Hooks):
        def process_data(self, data):
            with CarryingPool(THREADS) as pool:
                return list(pool.map(lambda text: chat(openai, text), texts))

    assert door.inputs(1).run(Asks, key_manager=keys).done == 1
    return door.outputs()["f000"]


@pytest.mark.parametrize("ask", [by_generate, in_a_hook])
def test_fifty_threads_send_each_of_five_keys_to_its_own_address_alone(door, request, ask):
    texts = [f"text {n}" for n in range(THREADS * (20 if request.config.option.full else 2))]
    sims = [door.simulate("a", "b", "c"), door.simulate("d", "e")]
    given = [
        {"key": key.secret, "name": key.name, "api_base": sim.url}
        for sim in sims
        for key in sim.keys
    ]
    with closing(APIKeyManager(given)) as keys:
        assert ask(texts, keys, door) == texts
        requests = {status.name: status.requests for status in keys.status()}
    for sim in sims:
        names = {key.name for key in sim.keys}
        assert {row.key for row in sim.ledger.rows()} == names
        assert all(sim.ledger.billed(name) == requests[name] for name in names)
    assert sum(sim.ledger.billed() for sim in sims) == len(texts)


def test_no_organisation_and_project_of_other_keys_are_named(door, monkeypatch):
    for name, value in ORGANISATION.items():
        monkeypatch.setenv(name, value)
    with (
        provider(lambda *_: (200, CHAT)) as server,
        closing(APIKeyManager([{"key": "sk-false", "api_base": server.url}])) as keys,
    ):
        assert request_openai_api(Own("", "text"), keys) == "ok"
        assert chat(openai_client(keys), "text") == "ok"
        assert chat(openai_client(keys, organization="org-mine"), "text") == "ok"
    told = [{*headers} & {"openai-organization", "openai-project"} for _, headers in server.heads]
    assert told == [set()] * 3


def test_each_goes_through_the_proxy_of_its_keys(door, monkeypatch):
    """And not through the environment's, where the address is this machine's."""
    ok = (200, CHAT)
    with provider(lambda *_: ok) as server, provider(lambda *_: ok) as proxy:
        address = proxy.url.removesuffix("/v1")
        monkeypatch.setenv("http_proxy", address)
        behind = {"api_base": "http://name.invalid/v1", "proxy": f"{address}/"}
        for settings in ({"api_base": server.url}, behind, {"api_base": server.url}):
            door.config.write_text(json.dumps({"api_keys": ["sk-false"], **settings}))
            os.chmod(door.config, 0o600)
            with closing(APIKeyManager(config_path=door.config)) as keys:
                assert request_openai_api(Own("", "text"), keys) == "ok"
                assert chat(openai_client(keys), "text") == "ok"
    assert [path for path, _ in server.heads] == ["/v1/chat/completions"] * 4
    assert [path for path, _ in proxy.heads] == ["http://name.invalid/v1/chat/completions"] * 2


# -- the keys are closed ---------------------------------------------------------------------------

MODULE, CLIENT, LIST = "module", "client", "list"


def ways(keys):
    """How a call is made, and made after it was once."""
    client = openai_client(keys)
    return {
        MODULE: lambda text: request_openai_api(Own("", text), keys),
        CLIENT: lambda text: chat(client, text),
        LIST: lambda text: multi_process_one([("", text)], Own, keys=keys)[0],
        "models": lambda text: client.models.list(),
    }


@pytest.mark.parametrize("way", [MODULE, CLIENT, LIST])
def test_a_call_under_way_when_the_keys_are_closed_ends_at_once_with_an_error(door, way):
    entered, ended = threading.Event(), []
    sim = door.simulate(latency=60, on_post=lambda row: entered.set())
    keys = door.keys()
    ask = ways(keys)[way]

    def work():
        try:
            ended.append(ask("text"))
        except BaseException as exc:
            ended.append(exc)

    thread = threading.Thread(target=work)
    thread.start()
    assert entered.wait(60)
    keys.close()
    thread.join(30)
    (error,) = ended
    assert isinstance(error, UsageError)
    assert "closed" in str(error)
    assert sim.ledger.hits() == 1


@pytest.mark.parametrize("way", [MODULE, CLIENT, LIST, "models"])
def test_nothing_is_sent_under_keys_that_were_closed(door, way):
    sim = door.simulate()
    keys = door.keys()
    ask = ways(keys)[way]
    ask("first")
    keys.close()
    for _ in range(3):
        with pytest.raises(UsageError, match="closed"):
            ask("second")
    assert sim.ledger.hits() == (way != "models")


def test_a_requester_that_was_closed_says_so_each_time(door):
    sim = door.simulate()
    with APIRequester(MODEL, config_path=door.config, progress=False) as api:
        assert api.get_response(user("first")) == "first"
    for _ in range(3):
        with pytest.raises(UsageError, match="closed"):
            api.get_response(user("second"))
    assert sim.ledger.hits() == 1


@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes of exceptions came with Python 3.11")
def test_a_refusal_by_a_client_says_in_the_toolkits_words_what_it_means(door):
    door.simulate(faults=[Fault("400")])
    with pytest.raises(openai.BadRequestError) as caught:
        chat(openai_client(door.keys()), "text")
    (note,) = caught.value.__notes__
    assert "request was refused after 1 attempt" in note


def test_a_base_without_v1_is_told_as_that_by_a_client_too(door):
    sim = door.simulate()
    key = {"key": sim.keys[0].secret, "api_base": sim.url.removesuffix("/v1")}
    with closing(APIKeyManager([key])) as keys, pytest.raises(NoUsableKey) as caught:
        chat(openai_client(keys), "text")
    assert "check api_base (it usually ends in /v1)" in str(caught.value)
