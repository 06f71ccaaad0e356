"""A small provider on loopback that answers as a test says."""

import contextlib
import http.server
import json
import threading

CHAT = {
    "object": "chat.completion",
    "model": "gpt-3.5-turbo",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "ok"},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
}


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True


class Provider:
    """What is asked of it, and under which key."""

    def __init__(self, answer):
        #: Called with the key and the body's text; returns status and body: a text or JSON.
        self.answer = answer
        #: (key, body) of each request.
        self.seen = []
        #: (path, headers) of each, the names in lower case; a proxy's paths are whole addresses.
        self.heads = []
        self.url = ""

    def hits(self, key="", part=""):
        return sum(key in of and part in body for of, body in self.seen)


@contextlib.contextmanager
def provider(answer):
    """Start a Provider that ends with the block."""
    given = Provider(answer)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self):
            length = int(self.headers["content-length"])
            key = self.headers.get("authorization", "").removeprefix("Bearer ")
            body = self.rfile.read(length).decode()
            given.seen.append((key, body))
            headers = {name.lower(): value for name, value in self.headers.items()}
            given.heads.append((self.path, headers))
            status, told = given.answer(key, body)
            kind = "text/html" if isinstance(told, str) else "application/json"
            raw = (told if isinstance(told, str) else json.dumps(told)).encode()
            self.send_response(status)
            self.send_header("content-type", kind if raw.startswith(b"<") else "application/json")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *args):
            """Say nothing."""

    with _Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        given.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        try:
            yield given
        finally:
            server.shutdown()
            thread.join()
