"""Short words for the tests of what the journal keeps of batch mode."""

import hashlib
import threading
from decimal import Decimal

from openai_parallel_toolkit.core.records import CallId, Outcome, OutcomeKind, Request, Usage
from openai_parallel_toolkit.journal.batch_rows import Ask, LineEnd, Refusal

PATH, MODEL = "/chat/completions", "m"
OK = Outcome(kind=OutcomeKind.OK, status=200, usage=Usage(prompt_tokens=10, completion_tokens=5))
BUSY = Outcome(kind=OutcomeKind.BUSY, code="batch_expired")
REJECTED = Outcome(kind=OutcomeKind.REJECTED, status=400, code="invalid_value")
REFUSAL = Refusal(
    kind=OutcomeKind.REJECTED, code="invalid_value", message="no", status=400, attempts=1
)
ANSWER = b'{"answer": 1}'


def hash_of(what):
    return hashlib.sha256(what.encode()).hexdigest()


def ask(file_id, what, model=MODEL, most="0.01"):
    body = b'{"ask":"%s"}' % what.encode()
    request = Request(
        path=PATH,
        model=model,
        body=body,
        hash=hash_of(what),
        prompt_tokens=7,
        reply_tokens=3,
        reply_limit_tokens=3,
    )
    return Ask(CallId(file_id=file_id, hash=request.hash, k=0), request, Decimal(most))


def suspend(store, file_id, *asks, rounds=1):
    """Let a file wait, and return when that is durable."""
    settled, told = threading.Event(), []

    def done(error):
        told.append(error)
        settled.set()

    store.suspend(file_id, rounds, b"marks", asks, done)
    assert settled.wait(40)
    assert told == [None]


def form(store, lines=None, token="t", key="key-1"):
    if lines is None:
        lines = store.lines(PATH, MODEL, 100)
    return store.form(lines, key_name=key, fingerprint="00aa", path=PATH, model=MODEL, token=token)


def sent(store, batch):
    return [one for page in store.sent(batch) for one in page]


def answered(one, body=ANSWER):
    return LineEnd(sent=one, outcome=OK, cost_usd=Decimal("0.001"), body=body)


def back(one):
    return LineEnd(sent=one, outcome=BUSY, cost_usd=None)


def refused(one):
    return LineEnd(sent=one, outcome=REJECTED, cost_usd=None, refusal=REFUSAL)
