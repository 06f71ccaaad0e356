"""The openai package sends under the lease of whoever calls it, and its faults read like ours."""

from __future__ import annotations

import json
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from typing import Any

import openai
import pytest
import trustme
from raw_server import (
    CANARY,
    Connection,
    ForwardProxy,
    RawServer,
    a_lease,
    answer_all,
    chat_body,
    http_reply,
)
from test_conformance import deaf_address, free_port

from openai_parallel_toolkit.core.errors import UsageError
from openai_parallel_toolkit.core.records import RawReply
from openai_parallel_toolkit.core.redaction import Secret
from openai_parallel_toolkit.transport import SendFault
from openai_parallel_toolkit.transport.openai_module import OpenAIModule

MESSAGES: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture
def module() -> Iterator[OpenAIModule]:
    before = openai.api_key, openai.max_retries
    module = OpenAIModule()
    yield module
    module.close()
    if openai.http_client is not None:
        openai.http_client.close()
    openai.http_client, openai.base_url = None, None
    openai.api_key, openai.max_retries = before
    openai.api_type = openai.azure_endpoint = openai.api_version = None
    openai._reset_client()


def ask_module(**options: Any) -> Any:
    return openai.chat.completions.create(model="gpt-4o", messages=MESSAGES, **options)


def echo_key(connection: Connection) -> None:
    """Answer each request with the path, the headers of interest and nothing else."""
    while request := connection.read():
        first, headers, _ = request
        told = {
            name: headers.get(name)
            for name in ("authorization", "api-key", "host", "openai-organization")
        }
        told["path"] = first.split()[1]
        connection.say(http_reply(chat_body(json.dumps(told))))


def told(reply: Any) -> dict[str, Any]:
    seen: dict[str, Any] = json.loads(reply.choices[0].message.content)
    return seen


def test_every_thread_sends_under_its_own_lease(module: OpenAIModule) -> None:
    """50 threads x 20 calls over 5 keys on two addresses."""
    with RawServer(echo_key) as one, RawServer(echo_key) as other:
        leases = [
            a_lease((one, other)[n % 2].base, id=n, key=f"sk-false-{n}", name=f"key-{n}")
            for n in range(5)
        ]

        def work(thread: int) -> list[bool]:
            right = []
            for call in range(20):
                lease = leases[(thread + call) % 5]
                with module.carry(lease):
                    seen = told(ask_module())
                address = lease.api_base.split("/")[2]
                right.append((seen["authorization"], seen["host"]) == (_bearer(lease), address))
            return right

        with ThreadPoolExecutor(50) as pool:
            results = Counter(ok for rights in pool.map(work, range(50)) for ok in rights)
        close_module(module)
    assert results == {True: 1000}


def _bearer(lease: Any) -> str:
    return f"Bearer {lease.secret.reveal()}"


def close_module(module: OpenAIModule) -> None:
    """Let go of kept connections before their server closes."""
    module.close()
    if openai.http_client is not None:
        openai.http_client.close()


def test_a_lease_ends_with_its_block(module: OpenAIModule) -> None:
    openai.api_key = "sk-the-users-own"
    with RawServer(echo_key) as server:
        openai.base_url = server.base
        with module.carry(a_lease(server.base)):
            assert told(ask_module())["authorization"] == "Bearer " + "".join(CANARY)
            in_a_copied_context = copy_context()
        assert told(ask_module())["authorization"] == "Bearer sk-the-users-own"
        again = told(in_a_copied_context.run(ask_module))
        assert again["authorization"] == "Bearer " + "".join(CANARY)
        assert openai.api_key == "sk-the-users-own"
        close_module(module)


def test_an_organisation_of_another_key_is_not_named(
    module: OpenAIModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-other")
    with RawServer(echo_key) as server:
        lease = a_lease(server.base)
        with module.carry(lease):
            assert told(ask_module())["openai-organization"] is None
        create = module.client_for(lease).with_options(timeout=5).chat.completions.create
        assert told(create(model="gpt-4o", messages=MESSAGES))["openai-organization"] is None
        close_module(module)


AZURE_PATH = "/openai/deployments/dep/chat/completions?api-version=2024-06-01"


@pytest.mark.parametrize("base", ["", "/", "/openai", "/openai/v1"])
def test_an_azure_lease_moves_a_plain_call_to_its_deployment(
    module: OpenAIModule, base: str
) -> None:
    with RawServer(echo_key) as server:
        lease = a_lease(
            server.base.replace("/v1", base), azure_deployment="dep", api_version="2024-06-01"
        )
        with module.carry(lease):
            by_module = told(ask_module())
        create = module.client_for(lease).chat.completions.create
        by_client = told(create(model="gpt-4o", messages=MESSAGES))
        close_module(module)
    for seen in (by_module, by_client):
        assert seen["path"] == AZURE_PATH
        assert seen["api-key"] == "".join(CANARY)
        assert seen["authorization"] is None


def test_an_azure_lease_without_a_deployment_goes_to_the_model_that_is_asked(
    module: OpenAIModule,
) -> None:
    """The call may be known by another name: that of the class whose `generate` it is."""
    with RawServer(echo_key) as server:
        lease = a_lease(server.base.replace("/v1", ""), api_version="2024-06-01")
        client = module.client_for(lease)
        with module.carry(lease):
            replies = [
                api.chat.completions.create(model="dep", messages=MESSAGES)
                for api in (openai, client)
            ]
        close_module(module)
    assert [told(reply)["path"] for reply in replies] == [AZURE_PATH] * 2


def test_a_plain_lease_moves_an_azure_call_to_its_address(
    module: OpenAIModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "false")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://name.invalid")
    monkeypatch.setenv("OPENAI_API_VERSION", "2024-06-01")
    with RawServer(echo_key) as server:
        with module.carry(a_lease(server.base)):
            seen = told(ask_module())
        close_module(module)
    assert seen["path"] == "/v1/chat/completions"
    assert seen["authorization"] == "Bearer " + "".join(CANARY)
    assert seen["api-key"] is None


def test_one_client_serves_a_key_at_an_address(module: OpenAIModule) -> None:
    base = "https://name.invalid/v1"
    client = module.client_for(a_lease(base, id=1))
    assert module.client_for(a_lease(base, id=2)) is client
    assert module.client_for(a_lease(base, key="sk-false-other")) is not client
    assert module.client_for(a_lease("https://other.invalid/v1")) is not client


def test_a_client_of_the_users_own_is_not_replaced(module: OpenAIModule) -> None:
    openai.http_client = openai.DefaultHttpxClient()
    with pytest.raises(UsageError, match="generate\\(self, client\\)"):
        module.carry(a_lease("http://name.invalid/v1")).__enter__()


def test_a_proxy_is_used_and_the_environments_is_not_for_loopback(
    module: OpenAIModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ForwardProxy(credentials="me:secret") as proxy, RawServer(echo_key) as server:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        with module.carry(a_lease(server.base)):
            ask_module()
        assert proxy.asked == []
        chosen = OpenAIModule(Secret(f"http://me:secret@127.0.0.1:{proxy.port}"))
        create = chosen.client_for(a_lease(server.base)).chat.completions.create
        create(model="gpt-4o", messages=MESSAGES)
        chosen.close()
        close_module(module)
    assert [first for first, _ in proxy.asked] == [f"POST {server.base}/chat/completions HTTP/1.1"]


def test_each_sends_module_level_calls_through_a_proxy_of_its_own(module: OpenAIModule) -> None:
    with ForwardProxy() as proxy, RawServer(echo_key) as server:
        proxied = OpenAIModule(Secret(f"http://127.0.0.1:{proxy.port}"))
        for one in (module, proxied, module):
            with one.carry(a_lease(server.base)):
                ask_module()
        proxied.close()
        close_module(module)
    assert len(proxy.asked) == 1


def test_what_is_under_way_when_it_is_closed_gets_its_answer_and_nothing_follows(
    module: OpenAIModule,
) -> None:
    with RawServer(echo_key) as server:
        lease = a_lease(server.base)
        with module.carry(lease):
            client = module.client_for(lease)
            module.close()
            create = client.chat.completions.create
            seen = [told(ask_module()), told(create(model="gpt-4o", messages=MESSAGES))]
        for ask in (lambda: module.carry(lease).__enter__(), lambda: module.client_for(lease)):
            with pytest.raises(UsageError, match="closed"):
                ask()
        with pytest.raises((RuntimeError, openai.APIConnectionError)):  # by version of openai
            create(model="gpt-4o", messages=MESSAGES)
    assert [one["authorization"] for one in seen] == [_bearer(lease)] * 2


# --- faults ----------------------------------------------------------------------------------


def ended_by(base: str, **options: Any) -> RawReply | SendFault:
    with closing(OpenAIModule()) as module:
        client = module.client_for(a_lease(base)).with_options(timeout=0.4)
        with pytest.raises(Exception) as caught:
            client.chat.completions.create(model="gpt-4o", messages=MESSAGES, **options)
    ended = module.fault_of(caught.value)
    assert ended is not None
    assert not any(half in str(ended) for half in CANARY)
    return ended


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 408, 409, 422, 429, 500, 503, 529])
def test_a_refusal_is_read_back_as_the_reply_it_was_and_not_retried(
    module: OpenAIModule, status: int
) -> None:
    body = b'{"error": {"code": "a_code", "message": "words"}}'
    asked = []

    def play(connection: Connection) -> None:
        while connection.read():
            asked.append(1)
            extra = "x-should-retry: true\r\nRetry-After: 0\r\nLocation: /v1/elsewhere\r\n"
            connection.say(http_reply(body, status=f"{status} No", extra=extra))

    with RawServer(play) as server:
        client = module.client_for(a_lease(server.base)).with_options(max_retries=3)
        with pytest.raises(openai.APIStatusError) as caught:
            client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
        module.close()
    ended = module.fault_of(caught.value)
    assert isinstance(ended, RawReply)
    assert (ended.status, ended.body, ended.headers["retry-after"]) == (status, body, "0")
    assert len(asked) == 1


def test_broken_json_is_read_back_as_the_reply_it_was() -> None:
    def play(connection: Connection) -> None:
        connection.read()
        connection.say(http_reply(b'{"choices": ['))

    with RawServer(play) as server:
        ended = ended_by(server.base)
    assert ended == RawReply(status=200, headers={}, body=b'{"choices": [')


def test_json_that_a_users_own_code_cannot_parse_is_no_fault_of_openai(
    module: OpenAIModule,
) -> None:
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads("{")
    assert module.fault_of(caught.value) is None
    assert module.fault_of(ValueError("whatever")) is None
    assert module.explain(ValueError("whatever")) is None


def cut(connection: Connection) -> None:
    connection.read()
    connection.say(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")


def close(connection: Connection) -> None:
    connection.read()


def reset(connection: Connection) -> None:
    connection.read()
    connection.reset()


def stall(connection: Connection) -> None:
    connection.read()
    connection.stop.wait(5)


def not_gzip(connection: Connection) -> None:
    connection.read()
    connection.say(http_reply(b"no gzip", extra="Content-Encoding: gzip\r\n"))


@pytest.mark.parametrize(
    ("play", "phase"),
    [(cut, "read"), (close, "read"), (reset, "read"), (stall, "deadline"), (not_gzip, "body")],
)
def test_what_was_sent_and_lost_is_unknown(play: Callable[[Connection], None], phase: str) -> None:
    with RawServer(play) as server:
        ended = ended_by(server.base)
    assert isinstance(ended, SendFault)
    assert (ended.kind, ended.phase) == ("unknown", phase)


def test_what_never_left_is_unsent() -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    with deaf_address() as deaf, RawServer(answer_all, tls=tls) as untrusted:
        bases = {
            "connect": [f"http://127.0.0.1:{free_port()}/v1", deaf],
            "dns": ["http://name.invalid/v1"],
            "tls": [untrusted.base],
        }
        for phase, places in bases.items():
            for base in places:
                ended = ended_by(base)
                assert isinstance(ended, SendFault)
                assert (ended.kind, ended.phase) == ("unsent", phase)


def test_a_key_with_a_newline_is_unsent(module: OpenAIModule) -> None:
    with RawServer(answer_all) as server:
        client = module.client_for(a_lease(server.base, key="sk-false\n"))
        with pytest.raises(openai.APIConnectionError) as caught:
            client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
        module.close()
    ended = module.fault_of(caught.value)
    assert isinstance(ended, SendFault)
    assert (ended.kind, ended.phase) == ("unsent", "request")


@pytest.mark.parametrize(
    ("removed", "line"),
    [
        ("ChatCompletion", "openai.chat.completions.create("),
        ("Completion", "openai.completions.create("),
        ("Embedding", "openai.embeddings.create("),
        ("Engine", "openai.chat.completions.create("),
    ],
)
def test_a_removed_call_is_told_with_its_replacement(
    module: OpenAIModule, removed: str, line: str
) -> None:
    with pytest.raises(openai.OpenAIError) as caught:
        getattr(openai, removed).create(model="gpt-4o", messages=MESSAGES)
    told = module.explain(caught.value)
    assert isinstance(told, UsageError)
    assert f"openai.{removed} is gone" in str(told)
    assert line in str(told)
