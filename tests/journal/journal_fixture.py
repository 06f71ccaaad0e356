"""Short words for the journal's tests."""

import hashlib
import os
import shutil
import threading
from decimal import Decimal

from openai_parallel_toolkit.core.records import (
    CallId,
    FailureNote,
    Outcome,
    OutcomeKind,
    OutputFile,
    Usage,
)
from openai_parallel_toolkit.journal import Journal

OK = Outcome(
    kind=OutcomeKind.OK,
    status=200,
    request_id="req-1",
    usage=Usage(prompt_tokens=10, completion_tokens=5, cached_tokens=2),
)
UNKNOWN = Outcome(kind=OutcomeKind.UNKNOWN, code="cut")
UNSENT = Outcome(kind=OutcomeKind.UNSENT, code="stopped")
BUSY = Outcome(kind=OutcomeKind.BUSY, status=429, message="slow down")
NOTE = FailureNote(kind="ValueError", message="bad input", trace="line 1")
FILE = "journal.sqlite3"


def hash_of(what):
    return hashlib.sha256(str(what).encode()).hexdigest()


def call(file_id, what="a", k=0, attempt_try=0):
    return CallId(file_id=file_id, hash=hash_of(what), k=k, attempt_try=attempt_try)


def claim(journal, call_id, most="0.01", key="key-1", model="m", done=None, **how):
    most = None if most is None else Decimal(most)
    return journal.claim(call_id, key_name=key, model=model, max_cost_usd=most, done=done, **how)


def answer(journal, call_id, body=b'{"a": 1}', cost="0.001", **how):
    attempt = claim(journal, call_id, **how)
    cost = None if cost is None else Decimal(cost)
    journal.answered(attempt, call_id, OK, body, cost)
    return attempt


def output(final, staged="s/1"):
    return OutputFile(staged=staged, final=final, size_bytes=3, sha256="00" * 32)


def bodies(journal, file_id):
    return {key: stored.body() for key, stored in journal.answers(file_id).items()}


def copy_of(state, to, also=()):
    """Copy the files as a kill at this moment would leave them."""
    os.makedirs(to)
    for name in (FILE, f"{FILE}-wal", *also):
        if os.path.exists(os.path.join(state, name)):
            shutil.copyfile(os.path.join(state, name), os.path.join(to, name))
    return str(to)


class Told:
    """A `done` that remembers what it was told."""

    def __init__(self):
        self._called = threading.Event()
        self.error = None

    def __call__(self, error):
        self.error = error
        self._called.set()

    @property
    def is_told(self):
        return self._called.is_set()

    def wait(self):
        assert self._called.wait(40)
        return self.error


def reopened(journal, state):
    journal.close()
    return Journal.open(state)
