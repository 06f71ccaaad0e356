"""No secret shows: not in what is printed, logged, journaled, pickled or listed, whatever fails."""

import base64
import json
import os
import secrets
import sqlite3
import subprocess
import sys
import threading
import urllib.parse
from pathlib import Path

import pytest
from wire_fixture import STATE, until

from openai_parallel_toolkit.journal import JournalReader
from openai_parallel_toolkit.simulator import Fault, SimKey

CHILD = Path(__file__).with_name("canary_child.py")
#: Halves, because a text may be cut or masked in the middle.
HALVES = [f"sk-{secrets.token_hex(12)}", secrets.token_hex(12)]
KEY = "".join(HALVES)
DEAD = [f"sk-proj-{secrets.token_hex(12)}", secrets.token_hex(12)]
DEAD_KEY = "".join(DEAD)
PASSWORD = f"pa/ss+{secrets.token_hex(12)}"


def forms(secret):
    """A secret as it may be written down."""
    for text in (secret, f"user:{secret}", f"Bearer {secret}"):
        yield base64.b64encode(text.encode())
        yield base64.urlsafe_b64encode(text.encode())
    yield secret.encode()
    yield urllib.parse.quote(secret, safe="").encode()
    yield secret.encode().hex().encode()


CANARIES = {form for secret in [*HALVES, KEY, *DEAD, DEAD_KEY, PASSWORD] for form in forms(secret)}


@pytest.fixture
def said(fixture):
    """Collects what a test's children say; at the end nothing anywhere may hold a secret."""
    things: dict[str, bytes] = {}
    yield things
    for path in fixture.root.rglob("*"):
        if path.is_file() and path != fixture.config:
            things[str(path)] = path.read_bytes()
        things[f"the name of {path}"] = os.fsencode(path)
    if (fixture.state / "journal.sqlite3").exists():
        things.update(journal_texts(fixture))
    assert len(things) > 5
    told = [(name, form) for name, text in things.items() for form in CANARIES if form in text]
    assert not told


def journal_texts(fixture):
    """Every row of the journal, and every answer unpacked."""
    with sqlite3.connect(fixture.state / "journal.sqlite3") as db:
        tables = [
            name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        yield from (
            (f"table {name}", repr(list(db.execute(f"SELECT * FROM {name}"))).encode())
            for name in tables
        )
    db.close()
    with JournalReader(str(fixture.state)) as journal:
        for path in fixture.input.iterdir():
            detail = journal.file(path.name)
            yield f"journal of {path.name}", repr(detail).encode()
            for attempt in detail.attempts:
                if attempt.answer is not None:
                    yield f"answer {attempt.id}", attempt.answer.body()


ECHO = f"Incorrect API key provided: {KEY} ({DEAD_KEY}). Authorization: Bearer {KEY}"
KINDS = ["500", "502", "503", "400", "cut_body", "html_200", "broken_json", "reset_during", "504"]


def faults():
    yield Fault("401", key="dead", message=ECHO)
    for kind in KINDS:
        yield Fault(kind, marker=f"fault-{kind}", retry_after=0.01, message=ECHO)
    yield Fault("400", marker="rejected please", message=ECHO)
    yield Fault("429", at=[3], message=ECHO, retry_after=0.1)


def start(fixture, *arguments):
    given = {**os.environ, "PYTHONPATH": str(CHILD.parents[2]), "PYTHONFAULTHANDLER": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=fixture.root,
        env=given,
        stdout=pipe,
        stderr=pipe,
    )


def finish(child, said):
    with child:
        said["stdout"], said["stderr"] = child.communicate(timeout=100)
    return child.returncode


def test_every_kind_of_failure_keeps_the_keys_to_itself(fixture, said):
    sim = fixture.simulate(
        SimKey("good", value=KEY), SimKey("dead", value=DEAD_KEY), faults=list(faults())
    )
    for kind in KINDS:
        for how in ("plain", "module", "client"):
            (fixture.input / f"{how}-{kind}.txt").write_text(f"{how} fault-{kind}")
    for how in ("plain", "module", "client", "hook-raises"):
        (fixture.input / f"{how}.txt").write_text(how)
    fixture.configure(sim)
    logs = fixture.root / "logs"
    logs.mkdir()
    status = finish(
        start(fixture, CHILD, fixture.config, fixture.input, fixture.output, logs), said
    )
    assert status == 0, said["stderr"].decode()
    assert b"pickled" in said["stdout"]
    # It was all there to be told.
    assert {"401", "500", "400", "cut_body"} <= {row.fault for row in sim.ledger.rows()}
    with fixture.journal() as journal:
        assert {f.note.kind for f in journal.failures()} >= {
            "RuntimeError",
            "RequestRejected",
            "RequestFailed",
            "OutcomeUnknown",
        }
    assert (logs / "toolkit.log").stat().st_size > 0
    assert b"DEBUG" in (logs / "users-own.log").read_bytes()


def test_a_proxys_password_is_kept_as_well(fixture, said):
    fixture.inputs(2)
    proxy = f"http://user:{urllib.parse.quote(PASSWORD, safe='')}@127.0.0.1:9"
    fixture.configure_at("http://provider.invalid/v1", [{"key": KEY, "name": "good"}], proxy=proxy)
    logs = fixture.root / "logs"
    logs.mkdir()
    code = (
        "import logging, sys; logging.basicConfig(level=logging.DEBUG)\n"
        "from canary_child import Child, APIKeyManager\n"
        "manager = APIKeyManager(config_path='config.json')\n"
        "print(manager, manager.settings, vars(manager))\n"
        "settings = {'deadline_s': 4, 'log_file': 'logs/a.log', 'fail_on_error': False}\n"
        "print(Child('config.json', 'in', 'out', **settings).run())\n"
    )
    (fixture.root / "main.py").write_text(
        f"import sys; sys.path.append({str(CHILD.parent)!r})\n{code}"
    )
    assert finish(start(fixture, "main.py"), said) == 0, said["stderr"].decode()
    assert b"through the proxy" in said["stderr"]
    assert b"RequestFailed" in (fixture.state / "failures.jsonl").read_bytes()


def test_the_command_line_shows_no_key_to_other_users_of_the_machine(fixture, said):
    may_end = threading.Event()
    sim = fixture.simulate(SimKey("good", value=KEY), on_post=lambda _: may_end.wait(60))
    fixture.inputs(3).configure(sim)
    (fixture.root / "hooks.py").write_text(CHILD.read_text())
    child = start(
        fixture, "-m", "openai_parallel_toolkit", "run", "hooks.py:Child", "in", "out",
        "--config", "config.json", "--no-progress",
    )  # fmt: skip
    until(lambda: sim.ledger.hits() > 0)
    said["cmdline"] = Path(f"/proc/{child.pid}/cmdline").read_bytes()
    may_end.set()
    assert b"openai_parallel_toolkit" in said["cmdline"]
    assert finish(child, said) == 0
    for command in (["status", "out", "--json"], ["show", "out", "f000.txt"], ["failures", "out"]):
        answer = start(fixture, "-m", "openai_parallel_toolkit", *command)
        with answer:
            said[" ".join(command)] = b"".join(answer.communicate(timeout=100))


def test_what_a_run_leaves_is_readable_for_its_owner_only(fixture):
    sim = fixture.simulate(SimKey("good", value=KEY), faults=[Fault("400", marker="file 1:")])
    fixture.inputs(2).configure(sim).run()
    assert (fixture.output / STATE).stat().st_mode & 0o777 == 0o700
    for path in (fixture.output / STATE).rglob("*"):
        if path.is_file() and path.stat().st_size:
            assert path.stat().st_mode & 0o077 == 0, path


def test_the_search_finds_what_it_looks_for():
    """The check of this module is not blind."""
    text = json.dumps({"key": KEY, "basic": base64.b64encode(f"user:{PASSWORD}".encode()).decode()})
    found = [form for form in CANARIES if form in text.encode()]
    assert KEY.encode() in found
    assert base64.b64encode(f"user:{PASSWORD}".encode()) in found
