"""A fast server of canned chat completions: an asyncio protocol on uvloop, in a process of its own.

    python benchmarks/server.py [--latency S] [--per-minute N --burst N] [--tls]

Prints its URL, and ends when its standard input does. The key says how a request fares: `dead` is
refused with 401, any other is answered, or limited with 429 and Retry-After when there is a limit.
GET /count tells how often each was done.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import json
import math
import ssl
import subprocess
import sys
import time

import uvloop

NO_LIMIT = 10_000_000


def head_of(status, body, extra=""):
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return f"{head}\r\nx-request-id: req_1\r\n{extra}\r\n".encode()


def error(status, code, extra=""):
    body = json.dumps({"error": {"message": code, "type": code, "code": code, "param": None}})
    return head_of(status, body, extra) + body.encode()


def completion():
    message = {"role": "assistant", "content": "Dolor sit amet, consetetur sadipscing elitr. " * 4}
    reply = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": {"prompt_tokens": 30, "completion_tokens": 40, "total_tokens": 70},
    }
    return json.dumps(reply).encode()


def limits(limit, remaining, reset_s):
    """OpenAI's headers; of tokens there is always plenty."""
    return (
        f"x-ratelimit-limit-requests: {limit}\r\nx-ratelimit-remaining-requests: {remaining}\r\n"
        f"x-ratelimit-reset-requests: {1000 * reset_s:.0f}ms\r\n"
        "x-ratelimit-limit-tokens: 2000000000\r\nx-ratelimit-remaining-tokens: 1999999000\r\n"
        "x-ratelimit-reset-tokens: 1ms\r\n"
    )


class Allowance:
    """So many requests a minute, of which `burst` may come at once."""

    def __init__(self, per_minute, burst):
        self.limit, self.rate_per_s, self.burst = per_minute, per_minute / 60, burst
        self.level, self.since_s = burst, time.monotonic()

    def take(self):
        """Take one and return the headers that tell it, or how many seconds it is too early."""
        now_s = time.monotonic()
        self.level = min(self.burst, self.level + (now_s - self.since_s) * self.rate_per_s)
        self.since_s = now_s
        if self.level < 1:
            return (1 - self.level) / self.rate_per_s, ""
        self.level -= 1
        reset_s = (self.burst - self.level) / self.rate_per_s
        return 0.0, limits(self.limit, int(self.level), reset_s)


class Answers:
    """What each request is answered with, and how often."""

    def __init__(self, latency_s, per_minute, burst):
        self.latency_s, self.per_minute, self.burst = latency_s, per_minute, burst
        self.counts = collections.Counter()
        self.allowances = {}
        self.body = completion()
        self.plain = head_of("200 OK", self.body, limits(NO_LIMIT, NO_LIMIT - 1, 0.001)) + self.body
        self.refused = error("401 Unauthorized", "invalid_api_key")

    def of(self, head):
        if head.startswith(b"get /count"):
            body = json.dumps({**self.counts, "cpu_s": time.process_time()})
            return head_of("200 OK", body) + body.encode()
        key = head[(at := head.find(b"bearer ") + 7) : head.find(b"\r", at)]
        if key == b"dead":
            self.counts["refused"] += 1
            return self.refused
        if not self.per_minute:
            self.counts["answered"] += 1
            return self.plain
        allowance = self.allowances.setdefault(key, Allowance(self.per_minute, self.burst))
        early_s, told = allowance.take()
        self.counts["limited" if early_s else "answered"] += 1
        if early_s:
            after = f"retry-after-ms: {1000 * early_s:.0f}\r\nretry-after: {math.ceil(early_s)}\r\n"
            return error("429 Too Many Requests", "rate_limit_exceeded", after)
        return head_of("200 OK", self.body, told) + self.body


class Connection(asyncio.Protocol):
    def __init__(self, answers):
        self.answers, self.seen = answers, b""
        self.later = asyncio.get_running_loop().call_later

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.seen = data = self.seen + data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            head = data[:end].lower()
            at = head.find(b"content-length:") + 15
            whole = end + 4 + (int(head[at:].split(b"\r", 1)[0]) if at > 14 else 0)
            if len(data) < whole:
                return
            self.seen = data = data[whole:]
            reply = self.answers.of(head)
            if self.answers.latency_s:
                self.later(self.answers.latency_s, self.transport.write, reply)
            else:
                self.transport.write(reply)


def certificate():
    import trustme

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


async def serve(answers, *, tls):
    loop, context = asyncio.get_running_loop(), certificate() if tls else None
    server = await loop.create_server(
        lambda: Connection(answers), "127.0.0.1", 0, backlog=4096, ssl=context
    )
    port = server.sockets[0].getsockname()[1]
    print(f"{'https' if tls else 'http'}://127.0.0.1:{port}/v1", flush=True)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin, ended.set)  # whoever started it is gone
    await ended.wait()
    server.close()


@contextlib.contextmanager
def serving(*options):
    """Start the server; yields its URL."""
    command = [sys.executable, __file__, *map(str, options)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that a reply takes")
    parser.add_argument("--per-minute", type=int, default=0, help="requests of a key; 0: any")
    parser.add_argument("--burst", type=int, default=1, help="of them at once")
    parser.add_argument("--tls", action="store_true", help="with a certificate that nobody knows")
    options = parser.parse_args()
    answers = Answers(options.latency, options.per_minute, options.burst)
    uvloop.run(serve(answers, tls=options.tls))


if __name__ == "__main__":
    main()
