"""A folder of inputs and configurations, the commands given there, and the search for keys."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from hostile import SPELLINGS, forms

REPOSITORY = Path(__file__).parents[2]
MODEL = "gpt-4o-mini"
STATE = ".openai_parallel_toolkit"
HOOKS = """\
import json

from openai_parallel_toolkit import BatchOptions, Gpt35Turbo, ParallelToolkit, request_openai_api

QUICK = dict(poll_s=0.02, longest_poll_s=0.05, listed_within_s=0.1, believed_s=0.5)


class Mine(ParallelToolkit):
    batch = BatchOptions(**QUICK)

    def process_input(self, file):
        return file.read()

    def process_data(self, data):
        return request_openai_api(Gpt35Turbo(content=data))

    def process_output(self, data, output_file_without_ext):
        with open(output_file_without_ext + ".json", "w") as out:
            json.dump(data, out)
"""
QUICKLY = ("--max-retries", "0", "--max-unknown", "0", "--no-progress", "--threads", "1")


def a_key():
    """A key that each spelling writes in a way of its own."""
    return f"sk-proj-cAn/ry+=&{secrets.token_hex(12)}"


class EchoFixture:
    def __init__(self, root, echo):
        self.root, self.echo = root, echo
        self.keys = []
        self.write("hooks.py", HOOKS)

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def configure(self, name, *modes):
        """Write a configuration with a key for each spelling and mode."""
        given = [
            {
                "key": a_key(),
                "name": f"{spelling}-{mode}",
                "api_base": self.echo.url_of(spelling, mode),
            }
            for mode in modes
            for spelling in SPELLINGS
        ]
        self.keys += [one["key"] for one in given]
        prices = {MODEL: {"input": 0.1, "output": 0.2}}
        self.write(name, json.dumps({"api_keys": given, "prices": prices})).chmod(0o600)

    def give(self, *commands):
        """Give commands in one process; return their exit statuses, by the commands."""
        self.write("commands.json", json.dumps(commands))
        child = Path(__file__).with_name("echo_child.py")
        return self.start(child, "commands.json", "statuses.json")

    def start(self, child, *arguments):
        with (self.root / "stdout").open("ab") as out, (self.root / "stderr").open("ab") as err:
            subprocess.run(
                [sys.executable, child, *arguments],
                cwd=self.root,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])},
                stdout=out,
                stderr=err,
                timeout=120,
                check=True,
            )
        statuses = self.root / "statuses.json"
        return dict(json.loads(statuses.read_text())) if statuses.exists() else {}

    @property
    def said(self):
        return (self.root / "stdout").read_text() + (self.root / "stderr").read_text()

    def shown(self, *, answers=()):
        """Where keys are found, and how they begin; `answers` are outputs of users' own bodies.

        Journals of the folders that `answers` name are searched but for the bodies of answers, all
        others byte by byte.
        """
        found = []
        wanted = {form: key for key in self.keys for form in forms(key)}
        configs = set(self.root.glob("*.config"))
        for path in self.root.rglob("*"):
            texts = {"its name": os.fsencode(path)}
            if path.is_file() and path not in configs:
                texts["its content"] = path.read_bytes()
            if "journal.sqlite3" in path.name and any(name in path.parts for name in answers):
                texts["its content"] = columns(path) if path.suffix == ".sqlite3" else b""
            found += [
                (str(path.relative_to(self.root)), where, form)
                for where, text in texts.items()
                for form in wanted
                if form in text
            ]
        return found


def columns(path):
    """All of a journal but the bodies of answers."""
    with closing(sqlite3.connect(path)) as db:
        tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        told = []
        for (table,) in tables:
            cursor = db.execute(f"SELECT * FROM {table}")
            kept = [
                at
                for at, (name, *_) in enumerate(cursor.description)
                if (table, name) != ("answers", "body")
            ]
            told += [[row[at] for at in kept] for row in cursor]
    return repr(told).encode()
