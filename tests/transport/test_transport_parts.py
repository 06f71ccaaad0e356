"""Addresses, proxies and the fake transport, each without a network."""

from __future__ import annotations

import asyncio
import json
import pickle
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_server import CANARY, a_lease, a_request

from openai_parallel_toolkit.core.errors import ConfigError
from openai_parallel_toolkit.core.records import Lease, RawReply, Request
from openai_parallel_toolkit.transport import FakeTransport, SendFault
from openai_parallel_toolkit.transport.proxies import (
    goes_directly,
    is_loopback,
    parse_proxy,
    proxy_for,
)
from openai_parallel_toolkit.transport.send_progress import SendProgress, fault_of
from openai_parallel_toolkit.transport.target import url_of


@pytest.mark.parametrize(
    ("deployment", "version", "path", "url"),
    [
        (None, None, "/embeddings", "https://a.example/v1/embeddings"),
        ("d", "v", "/embeddings", "AZ/openai/deployments/d/embeddings?api-version=v"),
        (None, "v", "/embeddings", "AZ/openai/deployments/gpt-4o/embeddings?api-version=v"),
        ("d", "v", "/batches", "AZ/openai/batches?api-version=v"),
        ("d", None, "/batches", "AZ/openai/batches?api-version=2024-10-21"),
        ("a/b?", "v", "/embeddings", "AZ/openai/deployments/a%2Fb%3F/embeddings?api-version=v"),
    ],
)
def test_the_address_follows_the_form_of_the_key(
    deployment: str | None, version: str | None, path: str, url: str
) -> None:
    for suffix in ("", "/", "/openai", "/openai/", "/openai/v1/"):
        base = f"https://a.example{suffix if url.startswith('AZ') else '/v1/'}"
        lease = a_lease(base, azure_deployment=deployment, api_version=version)
        assert url_of(lease, path) == url.replace("AZ", "https://a.example")


def test_a_proxy_shows_its_user_and_hides_its_password() -> None:
    proxy = parse_proxy(f"http://me:{''.join(CANARY)}@proxy.example:3128")
    assert str(proxy) == "http://me:[password]@proxy.example:3128"
    assert not any(half in repr(proxy) for half in CANARY)
    assert str(parse_proxy("proxy.example:3128")) == "http://proxy.example:3128"


@pytest.mark.parametrize("url", ["socks5://me:sesame@host:1", "http://", "http://me:sesame@h:port"])
def test_a_proxy_that_cannot_be_used_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_proxy(url)
    assert "sesame" not in str(caught.value)


def test_no_proxy_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    assert proxy_for("https://inside.example/v1") is None
    assert str(proxy_for("https://outside.example/v1")) == "http://proxy.example:3128"
    assert proxy_for("https://localhost:8000/v1") is None


@pytest.mark.parametrize(
    ("listed", "direct", "proxied"),
    [
        ("*", ["https://a.example", "http://10.1.2.3", "http://[fd00::1]"], []),
        ("b.example, *", ["https://a.example"], []),
        ("10.0.0.0/8", ["http://10.1.2.3:8000", "http://10.255.0.1"], ["http://11.0.0.1"]),
        ("10.1.2.3/8", ["http://10.9.9.9"], ["http://11.0.0.1"]),
        ("10.0.0.0/255.0.0.0", ["http://10.9.9.9"], ["http://11.0.0.1"]),
        ("192.168.7.7", ["http://192.168.7.7:1"], ["http://192.168.7.70"]),
        ("fd00::/8", ["http://[fd00::1]:8000", "http://[FD12::]"], ["http://[fe80::1]"]),
        ("[fd00::]/8,fe80::1", ["http://[fe80::1%25eth0]", "http://[fd00::1]"], []),
        ("fd00:0:0::1", ["http://[fd00::1]"], ["http://[fd00::2]"]),
        ("[fd00::1]", ["http://[fd00::1]:8000"], ["http://[fd00::2]"]),
        ("[fd00::1]:8000", ["http://[fd00::1]:8000"], ["http://[fd00::1]"]),
        ("10.0.0.0/8", ["http://[::ffff:10.1.2.3]"], ["http://[::ffff:11.1.2.3]"]),
        ("10.1.2.3:8000", ["http://10.1.2.3:8000"], ["http://10.1.2.3", "http://10.1.2.3:80"]),
        ("10.0.0.0/8:8000", ["http://10.1.2.3:8000"], ["http://10.1.2.3:8001"]),
        ("a.example", ["https://a.example", "https://x.A.Example."], ["https://xa.example"]),
        (".a.example", ["https://a.example", "https://y.x.a.example"], ["https://b.example"]),
        ("*.a.example", ["https://a.example", "https://y.x.a.example"], ["https://xa.example"]),
        ("A.EXAMPLE.", ["https://a.example"], ["https://a.example.org"]),
        ("a.example:443", ["https://a.example", "https://x.a.example:443"], ["http://a.example"]),
        ("*.a.example:8443", ["https://x.a.example:8443"], ["https://x.a.example"]),
        ("10.*,llm-*.corp", ["http://10.1.2.3", "http://llm-7.corp"], ["http://110.1.2.3"]),
        ("a.example b.example\tc.example", ["http://b.example", "http://c.example"], []),
        (" ,, b.example , ", ["http://b.example"], ["http://a.example"]),
        ("", [], ["https://a.example", "http://10.1.2.3"]),
        ("10.0.0.0/99,[,],:,:80,/8,*:81,http://", [], ["http://10.1.2.3:8000"]),
    ],
)
def test_no_proxy_lists_names_addresses_ranges_and_ports(
    monkeypatch: pytest.MonkeyPatch, listed: str, direct: list[str], proxied: list[str]
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", listed)
    assert [url for url in direct if proxy_for(f"{url}/v1") is not None] == []
    assert [url for url in proxied if proxy_for(f"{url}/v1") is None] == []


def test_no_proxy_in_small_letters_wins_even_when_it_is_empty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "*")
    assert proxy_for("https://a.example/v1") is None
    monkeypatch.setenv("no_proxy", "")
    assert proxy_for("https://a.example/v1") is not None


@given(
    host=st.one_of(st.text(max_size=20), st.ip_addresses().map(str)),
    port=st.one_of(st.none(), st.integers(0, 65535)),
    no_proxy=st.text(st.sampled_from("0123456789abcdef.:/[]*%,- \N{SUPERSCRIPT TWO}"), max_size=40),
)
def test_no_list_and_no_host_is_too_odd(host: str, port: int | None, no_proxy: str) -> None:
    assert goes_directly(host, port, no_proxy) in {True, False}
    assert goes_directly(host, port, f"{no_proxy},*")


@given(st.text(max_size=30))
def test_an_address_that_is_none_has_no_proxy(rest: str) -> None:
    assert proxy_for(f"https://[{rest}") is None or "]" in rest


@pytest.mark.parametrize(
    "host", ["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"]
)
def test_loopback_is_recognised(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["localhost.example", "10.0.0.1", "api.openai.com", ""])
def test_other_hosts_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_a_fault_survives_pickling() -> None:
    fault = pickle.loads(pickle.dumps(SendFault("unknown", "body", "cut short")))
    assert (fault.kind, fault.phase, str(fault)) == ("unknown", "body", "cut short")


def fake_send(fake: FakeTransport, request: Request) -> RawReply:
    return asyncio.run(fake.send(request, a_lease("http://name.invalid"), timeout_s=1))


def test_a_fake_answers_with_a_text_a_reply_or_a_fault_and_remembers() -> None:
    reply = RawReply(status=429, headers={}, body=b"{}")
    answers = iter(["two words", reply, SendFault("unsent", "dns", "no such host")])
    fake = FakeTransport(lambda request, lease: next(answers))
    request = a_request()
    completion = json.loads(fake_send(fake, request).body)
    assert completion["choices"][0]["message"]["content"] == "two words"
    assert completion["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "total_tokens": 5,
    }
    assert fake_send(fake, request) is reply
    with pytest.raises(SendFault, match="no such host"):
        fake_send(fake, request)
    assert fake.sent == [(request, "key-1")] * 3


def test_a_fake_may_answer_later() -> None:
    async def later(request: Request, lease: Lease) -> str:
        await asyncio.sleep(0)
        return "late"

    assert b"late" in fake_send(FakeTransport(later), a_request()).body


def test_time_that_ends_before_there_is_a_connection_leaves_the_request_unsent() -> None:
    progress = SendProgress()
    late = asyncio.TimeoutError()
    before = fault_of(late, progress, route="a.example", request_id="r-1")
    progress.is_connected = True
    after = fault_of(late, progress, route="a.example", request_id="r-1")
    assert (before.kind, before.phase) == ("unsent", "connect")
    assert (after.kind, after.phase) == ("unknown", "deadline")


def test_importing_the_transport_loads_no_client_and_sending_none_that_is_not_needed() -> None:
    code = (
        "import sys; import openai_parallel_toolkit.transport as m; "
        "print([n for n in ('aiohttp', 'openai', 'httptools', 'uvloop') if n in sys.modules]); "
        "m.default_transport(); "
        "print([n for n in ('aiohttp', 'openai', 'httptools') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "['httptools']"]
