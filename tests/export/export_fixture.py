"""A journal that is filled by hand while its run is on, and commands that are given in it."""

import csv
import hashlib
import io
import json
from decimal import Decimal

from openai_parallel_toolkit.cli.dispatch import dispatch
from openai_parallel_toolkit.core.records import (
    CallId,
    FailureNote,
    Outcome,
    OutcomeKind,
    OutputFile,
    Usage,
)

OK = Outcome(
    kind=OutcomeKind.OK,
    status=200,
    request_id="req-1",
    usage=Usage(prompt_tokens=10, completion_tokens=5, cached_tokens=2),
)


def chat(text, ending="stop"):
    choice = {"index": 0, "message": {"content": text}, "finish_reason": ending}
    return json.dumps({"choices": [choice]}).encode()


def ask(prompt):
    return json.dumps({"messages": [{"role": "user", "content": prompt}]}).encode()


class Kept:
    """What a run has kept so far."""

    def __init__(self, out, journal):
        self.out, self.journal = out, journal

    def asked(self, file, what, *, k=0, model="gpt-4o-mini", key="first"):
        """Claim an attempt; return what `ended` and `answered` take."""
        file_id = self.journal.file(file).id
        self.journal.opened(file_id)
        call = CallId(file_id=file_id, hash=hashlib.sha256(what.encode()).hexdigest(), k=k)
        most = Decimal("0.01")
        claim = self.journal.claim(
            call, key_name=key, model=model, max_cost_usd=most, body=ask(what), waited_s=0.25
        )
        return claim, call

    def ended(self, asked, kind, **how):
        self.journal.ended(asked[0], Outcome(kind=kind, **how))

    def answered(self, asked, text, cost="0.0000570"):
        usd = cost and Decimal(cost)
        self.journal.answered(*asked, OK, chat(text), usd, finish_reason="stop", service_s=1.5)

    def done(self, file, *outputs):
        file_id = self.journal.file(file).id
        made = [
            OutputFile(staged=f"s/{name}", final=name, size_bytes=3, sha256="00" * 32)
            for name in outputs
        ]
        self.journal.intent(file_id, made)
        self.journal.done_file(file_id, "v")

    def failed(self, file, kind, message):
        note = FailureNote(kind=kind, message=message, trace="line 1\nline 2")
        self.journal.failed(self.journal.file(file).id, note, 3)

    def export(self, name, *more):
        """Give the command; return its status and where its file lies."""
        self.journal.flush()
        path = self.out.parent / name
        return dispatch(["export", str(self.out), str(path), *more]), path

    def rows(self, name, *more):
        """Export to CSV or JSON lines and return its rows."""
        status, path = self.export(name, *more)
        assert status == 0
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in path.read_bytes().splitlines()]
        text = path.read_bytes().decode()
        return list(csv.DictReader(io.StringIO(text, newline="")))
