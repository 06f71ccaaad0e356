"""What a server sets for one key never goes out under another, whichever door is used."""

import asyncio
import contextlib
import http.server
import json
import threading

import openai
import pytest
from door_fixture import Hooks, chat

from openai_parallel_toolkit import (
    APIKeyManager,
    Gpt35Turbo,
    async_openai_client,
    openai_client,
    request_openai_api,
)
from openai_parallel_toolkit.cli.keycheck import check_keys
from openai_parallel_toolkit.keys.config import load_settings

MESSAGE = {"role": "assistant", "content": "ok"}
CHAT = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-mini",
    "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
LIST = {"object": "list", "data": [], "has_more": False}
KEYS = [f"sk-{n}" for n in range(4)]


class Baker(http.server.BaseHTTPRequestHandler):
    """Gives each key a cookie of its own, and notes which comes back."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    seen: list

    def do_GET(self):
        self.answer(LIST)

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.answer(CHAT)

    def answer(self, told):
        key = self.headers["authorization"].removeprefix("Bearer ")
        self.seen.append((self.command, key, self.headers["cookie"]))
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        for path in ("/", "/v1"):
            self.send_header("set-cookie", f"of={key}; Path={path}; Max-Age=600")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def baker():
    handler = type("BakerOfOneTest", (Baker,), {"seen": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        # By its name: addresses are given no cookies by some clients.
        yield f"http://localhost:{server.server_address[1]}/v1", handler.seen
        server.shutdown()
        thread.join()


@pytest.fixture
def keys(door, baker):
    door.config.write_text(json.dumps({"api_keys": KEYS, "api_base": baker[0]}))
    with contextlib.closing(APIKeyManager(config_path=door.config)) as manager:
        yield manager


class OwnClient(Gpt35Turbo):
    def generate(self, client):
        client.models.list()
        return chat(client, self.content)


class ModuleLevel(Gpt35Turbo):
    def generate(self):
        openai.models.list()
        return chat(openai, self.content)


def by_openai_client(keys, text):
    client = openai_client(keys)
    for part in ("a", "b"):
        client.models.list()
        chat(client, text + part)


def by_async_client(keys, text):
    async def twice():
        client = async_openai_client(keys)
        for part in ("a", "b"):
            await client.models.list()
            message = [{"role": "user", "content": text + part}]
            await client.chat.completions.create(model="gpt-4o-mini", messages=message)

    asyncio.run(twice())


DOORS = {
    "plain": lambda keys, text: request_openai_api(Gpt35Turbo(content=text), keys=keys),
    "generate with a client": lambda keys, text: request_openai_api(
        OwnClient(content=text), keys=keys
    ),
    "module level": lambda keys, text: request_openai_api(ModuleLevel(content=text), keys=keys),
    "openai_client": by_openai_client,
    "async_openai_client": by_async_client,
}


@pytest.mark.parametrize("ask", DOORS.values(), ids=DOORS)
def test_no_request_carries_a_cookie(keys, baker, ask):
    for n in range(6):
        ask(keys, f"text {n}")
    seen = baker[1]
    assert {cookie for _, _, cookie in seen} == {None}
    assert len({key for _, key, _ in seen}) > 1


def test_hooks_and_checks_of_keys_carry_none(door, keys, baker):
    class Asks(Hooks):
        def process_data(self, data):
            return chat(openai_client(), data)

    assert door.inputs(6).run(Asks).done == 6
    check_keys(load_settings(door.config))
    assert {cookie for _, _, cookie in baker[1]} == {None}


def test_a_cookie_of_the_users_own_key_does_not_go_out_under_another(baker, keys, monkeypatch):
    request_openai_api(ModuleLevel(content="the door is set up"), keys=keys)
    monkeypatch.setattr(openai, "base_url", baker[0])
    for key in ("sk-own-1", "sk-own-2"):
        monkeypatch.setattr(openai, "api_key", key)
        chat(openai, "hello")
    assert [cookie for _, key, cookie in baker[1] if "own" in key] == [None, None]
