"""A provider that gives the key of each request back, spelled in every way, wherever it can.

The base URL of a key is `url_of(spelling, mode)`: how the key is spelled, and how requests fare
that do not say it themselves. A prompt does so by the words `how=SCENARIO` and `spell=SPELLING`.
"""

from __future__ import annotations

import contextlib
import http.server
import itertools
import json
import re
import threading
from urllib.parse import urlsplit

from hostile import HOSTILE, SPELLINGS

#: Fields of an error in which something may be told.
NAMES = ("code", "type", "message", "param", "status", "reason", "detail", "innererror", "metadata")
HEADERS = (
    *("x-request-id", "openai-processing-ms", "openai-version", "openai-organization", "server"),
    *("retry-after", "x-ratelimit-limit-requests", "x-ratelimit-reset-requests", "set-cookie"),
    *("location", "www-authenticate", "content-disposition", "x-ratelimit-type", "warning", "via"),
)
QUIET = {"rejected": 400, "too_large": 413, "unfit": 422, "broken": 500, "gone": 504, "away": 302}
#: How a request fares, besides those: each gives a status and a body.
ANSWERS = ("good", "named", "ended", "failed_choice", "error_200", "page", "broken_json", "events")
#: These end before a whole reply is there.
CUT = ("cut", "bad_line", "bad_header")
SCENARIOS = (*QUIET, *ANSWERS, *CUT)


def prompt(scenario, spelling):
    return f"how={scenario} spell={spelling} please"


def error_of(shown):
    inner = dict.fromkeys(NAMES[:4], shown)
    return {**dict.fromkeys(NAMES, shown), "innererror": inner, "details": [inner, {shown: shown}]}


def chat_of(shown, *, named, ending="stop", **more):
    """A chat completion; `named`: with the key in all that is a name."""
    name = shown if named else "plain"
    choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}, **more}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    top = dict.fromkeys(("id", "object", "model", "system_fingerprint", "service_tier"), name)
    return {**top, "created": 1, "choices": [{**choice, "finish_reason": ending}], "usage": usage}


def told(scenario, shown):
    """Status and body of a scenario."""
    if scenario in QUIET:
        return QUIET[scenario], {"error": error_of(shown), "object": shown, shown: shown}
    bodies = {
        "good": chat_of(shown, named=False),
        "named": chat_of(shown, named=True),
        "ended": chat_of(shown, named=True, ending=shown),
        "failed_choice": chat_of(shown, named=False, ending="error", error=error_of(shown)),
        "error_200": {"error": error_of(shown)},
        "page": f"<html><title>{shown}</title></html>",
        "broken_json": '{"id": "' + shown,
        "events": f"event: {shown}\ndata: {json.dumps({'error': error_of(shown)})}\n\n",
    }
    return 200, bodies[scenario]


class Echo:
    """Its address, and what it has seen."""

    def __init__(self):
        self.url = ""
        self.keys = set()
        self.lines = {}
        self.numbers = itertools.count(1)

    def url_of(self, spelling, mode="echo"):
        return f"{self.url}/{spelling}/{mode}/v1"


@contextlib.contextmanager
def echo_server():
    """Start an Echo that ends with the block."""
    echo = Echo()

    class Handler(_Handler):
        given = echo

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        echo.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield echo
        finally:
            server.shutdown()
            thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    given: Echo

    def _answer(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        _, spelling, mode, _, *path = urlsplit(self.path).path.split("/")
        key = (self.headers.get("authorization") or "").removeprefix("Bearer ")
        self.given.keys.add(key)
        asked = dict(re.findall(r"(how|spell)=(\w+)", body))
        spelling = asked.get("spell", spelling)
        shown = HOSTILE if spelling == "hostile" else SPELLINGS[spelling](key)
        if mode.isdecimal():
            return self._say(int(mode), {"error": error_of(shown)}, shown)
        if path[0] in ("files", "batches"):
            return self._say(200, self._batch_api(path, body, mode, shown), shown)
        if path[0] == "models":
            return self._say(500, {"error": error_of(shown)}, shown)
        scenario = asked.get("how", "good")
        if scenario in CUT:
            return self._cut(scenario, shown)
        return self._say(*told(scenario, shown), shown)

    do_GET = do_POST = do_DELETE = _answer

    def _say(self, status, body, shown, *, length=None):
        raw = (body if isinstance(body, str) else json.dumps(body)).encode()
        shown = shown if shown.isprintable() else "plain"
        self.send_response(status, shown)
        kind = "text/html" if raw.startswith(b"<") else "application/json"
        self.send_header("content-type", f"{kind}; charset=utf-8; key={shown}")
        for name in HEADERS:
            self.send_header(name, shown)
        self.send_header("content-length", str(length or len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _cut(self, scenario, shown):
        self.close_connection = True
        if scenario == "cut":
            self._say(200, '{"id": "' + shown, shown, length=10_000)
        elif scenario == "bad_line":
            self.wfile.write(f"XTTP/9 {shown} {shown}\r\n\r\n".encode())
        else:
            self.wfile.write(f"HTTP/1.1 200 OK\r\n{shown} : {shown}\r\n{shown}\r\n\r\n".encode())

    # -- the Batch API -------------------------------------------------------------------------

    def _batch_api(self, path, body, mode, shown):
        lines, number = self.given.lines, next(self.given.numbers)
        if self.command == "DELETE":
            return {"id": path[1], "object": shown, "deleted": True}
        if path == ["files"] and self.command == "POST":
            id = shown if mode == "bad_file_id" else f"file_{number}"
            found = re.findall(r'^\{"custom_id".*$', body, re.MULTILINE)
            lines[id] = [json.loads(line) for line in found]
            return self._file(id, shown)
        if path[0] == "files" and path[-1] == "content":
            kind, _, id = path[1].partition("-")
            return self._results(lines[id], shown, is_output=kind == "output")
        if path[0] == "files":
            return self._file(path[1], shown) if path[1:] else {"data": []}
        if self.command == "POST":
            file_id = json.loads(body)["input_file_id"]
            id = f"batch_{shown}" if mode == "bad_batch_id" else f"batch_{number}"
            lines[id] = file_id
            return self._batch(id, file_id, shown, shown)
        if not path[1:]:
            return {"data": [], "object": shown}
        looked = lines[f"{path[1]} looks"] = lines.get(f"{path[1]} looks", 0) + 1
        end = "failed" if mode == "failing" else "completed"
        return self._batch(path[1], lines[path[1]], end if looked > 1 else shown, shown)

    def _file(self, id, shown):
        told = dict.fromkeys(("object", "filename", "status_details", "purpose"), shown)
        return {"id": id, "bytes": 3, "created_at": 1, "status": "processed", **told}

    def _batch(self, id, file_id, status, shown):
        issue = {**error_of(shown), "line": None}
        is_over = status == "completed"
        return {
            "id": id,
            "status": status,
            "input_file_id": file_id,
            "output_file_id": f"output-{file_id}" if is_over else None,
            "error_file_id": f"error-{file_id}" if is_over else None,
            "endpoint": shown,
            "object": shown,
            "completion_window": shown,
            "metadata": {shown: shown},
            "errors": {"object": shown, "data": [issue] * (status == "failed")},
            "request_counts": {"total": 1, "completed": is_over, "failed": is_over},
        }

    def _results(self, lines, shown, *, is_output):
        told_lines = [self._result(line, shown) for line in lines]
        wanted = [one for one in told_lines if (one["response"]["status_code"] < 300) is is_output]
        stranger = {"custom_id": shown, "response": None, "error": error_of(shown)}
        return "".join(f"{json.dumps(line)}\n" for line in (*wanted, stranger))

    def _result(self, line, shown):
        asked = dict(re.findall(r"(how|spell)=(\w+)", json.dumps(line)))
        status, body = told(asked.get("how", "good"), shown)
        response = {"status_code": status, "request_id": shown, "body": body, shown: shown}
        return {"id": shown, "custom_id": line["custom_id"], "response": response, "error": None}

    def log_message(self, *args):
        """Say nothing."""
