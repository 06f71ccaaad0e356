"""Talk to the simulator at the level of the wire."""

import http.client
import json
import socket
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urlsplit

CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def text(self):
        return self.json["choices"][0]["message"]["content"]

    @property
    def code(self):
        return self.json["error"]["code"]


def address(sim):
    parts = urlsplit(sim.url)
    return parts.hostname, parts.port


def connect(sim, timeout=40):
    return socket.create_connection(address(sim), timeout=timeout)


def chat_body(content="Hello, sea.", model="gpt-4o-mini", **fields):
    messages = [{"role": "user", "content": content}]
    return json.dumps({"model": model, "messages": messages, **fields}).encode()


def call(sim, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection(*address(sim), timeout=40)
    with closing(connection):
        connection.request(method, path, body, headers or {})
        reply = connection.getresponse()
        names = {name.lower(): value for name, value in reply.getheaders()}
        return Answer(reply.status, names, reply.read())


def post(sim, body, key="good", path=CHAT, **headers):
    return call(sim, "POST", path, body, {"Authorization": f"Bearer sim-{key}", **headers})


def ask(sim, content="Hello, sea.", key="good", **fields):
    return post(sim, chat_body(content, **fields), key)


def raw_request(body, key="good", path=CHAT):
    head = (
        f"POST {path} HTTP/1.1\r\nHost: sim\r\nAuthorization: Bearer sim-{key}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def read_to_end(sock):
    """Return what comes until the server closes, and whether it ended in a reset."""
    got = b""
    try:
        while data := sock.recv(65536):
            got += data
    except ConnectionResetError:
        return got, True
    return got, False


def exchange(sim, body=None):
    """Send one request on a connection of its own; return what comes and whether it was reset."""
    with connect(sim) as sock:
        sock.sendall(raw_request(chat_body() if body is None else body))
        return read_to_end(sock)
