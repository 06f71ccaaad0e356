"""What the page's server answers, to whom, and what it never shows."""

import http.client
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

import pytest

from openai_parallel_toolkit import Gpt35Turbo, ParallelToolkit, request_openai_api
from openai_parallel_toolkit.core.errors import UsageError
from openai_parallel_toolkit.journal import Journal
from openai_parallel_toolkit.view.page import new_nonce, page
from openai_parallel_toolkit.view.server import ViewServer
from openai_parallel_toolkit.view.source import Source, StatePlace

STATE = ".openai_parallel_toolkit"
CANARY = "sk-" + "canary0123456789abcdef"
HOSTILE = f"<script>alert(1)</script>\x1b[31m {CANARY}\u202e</script>"


class Asks(ParallelToolkit):
    def process_input(self, file):
        return file.read()

    def process_data(self, text):
        if "fail" in text:
            raise ValueError(text)
        return request_openai_api(Gpt35Turbo(content=text))

    def process_output(self, data, output_file_without_ext):
        with open(output_file_without_ext, "w") as out:
            out.write(data)


@contextmanager
def served(folder, **how):
    server = ViewServer(Source(StatePlace("out", str(folder))), port=0, **how)
    server.start()
    try:
        yield server
    finally:
        server.close()


def get(server, path, **headers):
    address = urlsplit(server.url)
    with closing(http.client.HTTPConnection("127.0.0.1", address.port, timeout=30)) as connection:
        connection.request("GET", path, headers=headers)
        reply = connection.getresponse()
        return reply.status, reply.read().decode(), reply.headers


@pytest.fixture
def done(fixture):
    """The state folder of a run whose file, prompt, answer and error are hostile."""
    fixture.configure(fixture.simulate())
    (fixture.input / "a\n<script>.txt").write_text(f"[[echo]] {HOSTILE}")
    (fixture.input / "fails.txt").write_text(f"fail {HOSTILE}")
    fixture.run(Asks)
    return fixture.output / STATE


def test_a_page_and_a_report_show_nothing_hostile_alive(done):
    with served(done) as server:
        texts = [get(server, path)[1] for path in ("/", "/metrics", "/calls.jsonl")]
        calls = json.loads(get(server, "/api/calls")[1])["calls"]
        files = json.loads(get(server, "/api/files")[1])["files"]
        texts += [get(server, f"/api/file?id={file['id']}")[1] for file in files]
        texts += [get(server, f"/api/call?id={call['id']}")[1] for call in calls]
        texts += [json.dumps([calls, files]), get(server, "/api/now")[1]]
    source = Source(StatePlace(f"out {HOSTILE}", str(done)))
    with closing(source):
        told = {"title": "out", "report": source.report(10)}
    texts.append(page(told, nonce=new_nonce(), is_report=True))
    assert "alert(1)" in texts[-1]  # it is there, as text
    assert "/api/" not in texts[-1].replace('"api/', "")
    for text in texts:
        assert CANARY not in text
        assert "\x1b" not in text
        assert "\\u001b" not in text
        assert "\u202e" not in text
        assert "<script>alert" not in text.replace('\\"', '"') or text.startswith(("{", "["))
    assert sorted(file["path"] for file in files) == [r"a\n<script>.txt", "fails.txt"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1:1"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
def test_only_the_page_itself_is_answered(done, headers, status):
    with served(done) as server:
        for path in ("/", "/api/now", "/metrics"):
            assert get(server, path, **headers)[0] == status


def test_a_page_loads_nothing_but_itself_and_runs_only_its_own_script(done):
    with served(done) as server:
        _, text, headers = get(server, "/")
    rules = headers["Content-Security-Policy"]
    assert "default-src 'none'" in rules
    assert "unsafe" not in rules
    assert text.count(rules.split("'nonce-")[1].split("'")[0]) >= 4
    assert " src=" not in text
    assert headers["Cache-Control"] == "no-store"


def test_another_address_asks_for_a_token_that_nobody_can_guess(done):
    with served(done, host="0.0.0.0") as server:
        token = server.url.partition("token=")[2]
        assert len(token) >= 32
        assert [get(server, p)[0] for p in ("/", "/?token=x", "/api/now", "/metrics")] == [403] * 4
        assert get(server, f"/api/now?token={token}")[0] == 200


def test_a_page_is_there_before_the_run_and_no_question_breaks_it(fixture):
    state = fixture.root / "later"
    with served(state) as server:
        assert get(server, "/")[0] == 200
        status, text, _ = get(server, "/api/now")
        assert (status, "no run has begun" in text) == (503, True)
        Journal.open(str(state)).close()
        assert json.loads(get(server, "/api/now")[1])["state"]["word"] == "not begun"
        for path in ("files?state=x", "files?after=x", "call?id=9", "file?id=-1", "calls?kind=x"):
            assert get(server, f"/api/{path}")[0] == 400
        assert get(server, "/nowhere")[0] == 404


def test_figures_are_told_in_the_names_of_opentelemetry(done):
    with served(done) as server:
        _, text, headers = get(server, "/metrics")
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    labels = '{gen_ai_request_model="gpt-3.5-turbo",openai_parallel_toolkit_key="good"}'
    assert f"gen_ai_client_operation_duration_seconds_count{labels} 1" in text
    labels = '{gen_ai_request_model="gpt-3.5-turbo",gen_ai_token_type="input"}'
    assert f"gen_ai_client_token_usage_tokens_total{labels} " in text
    assert 'openai_parallel_toolkit_attempts_total{outcome="ok"} 1' in text
    assert "openai_parallel_toolkit_files_failed 1" in text


def test_a_reader_takes_no_lock_and_sees_a_run_that_was_killed(done):
    with closing(sqlite3.connect(done / "journal.sqlite3")) as db:
        db.execute("UPDATE runs SET ended_wall_s = NULL, how = ''")
        db.commit()
    with served(done) as server:
        assert json.loads(get(server, "/api/now")[1])["state"]["word"] == "died"
        assert get(server, "/api/charts")[0] == 200
        Journal.open(str(done)).close()  # a run may begin meanwhile


def test_a_port_in_use_is_told_and_the_usual_one_gives_way(done):
    with served(done) as server:
        port = urlsplit(server.url).port
        with pytest.raises(UsageError, match=f"{port}.*--port"):
            ViewServer(Source(StatePlace("out", str(done))), port=port)


def _newer(folder):
    with closing(sqlite3.connect(folder / "journal.sqlite3")) as db:
        db.execute("PRAGMA user_version = 99")
        db.commit()


def _gone(folder):
    for name in os.listdir(folder):
        if name.startswith("journal"):
            (folder / name).unlink()


@pytest.mark.parametrize(
    ("spoil", "command", "words"),
    [
        (_newer, "view", "upgrade the package"),
        (_gone, "report", "no run has begun"),
        (lambda _: None, "view", "--no-browser"),
    ],
)
def test_what_cannot_be_shown_is_one_line_and_status_2(done, spoil, command, words):
    spoil(done)
    place = [str(done.parent)] + ["--port", "0"] * (command == "view")
    more = [str(done / "r.html")] if command == "report" else []
    ended = subprocess.run(
        [sys.executable, "-m", "openai_parallel_toolkit", command, *place, *more],
        env={**os.environ, "BROWSER": "no-such-browser", "DISPLAY": "", "PATH": ""},
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 2
    assert words in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
