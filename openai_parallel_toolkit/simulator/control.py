"""The simulator's own paths: read the bill, change the rules, begin again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from .batches.batch_service import SimBatchService
from .batches.file_store import FileStore
from .environment import Environment
from .faults import fault_fields, faults_from
from .http_messages import HttpReply, HttpRequest, json_reply, read_json
from .ledger import rows_json
from .refusals import error_reply, unknown_url


class Control:
    """Serves `/__ledger`, `/__script`, `/__batches`, `/__reset`, without a key and a row."""

    def __init__(
        self,
        environment: Environment,
        files: FileStore,
        batches: SimBatchService,
        reset: Callable[[], None],
    ) -> None:
        self._environment = environment
        self._files = files
        self._batches = batches
        self._reset = reset
        self._handlers = {
            ("GET", "/__ledger"): self._read_ledger,
            ("GET", "/__script"): self._read_script,
            ("POST", "/__script"): self._write_script,
            ("GET", "/__batches"): self._read_batches,
            ("POST", "/__batches"): self._control_batches,
            ("POST", "/__reset"): self._begin_again,
        }

    def handle(self, request: HttpRequest) -> HttpReply:
        """Return the reply to a request for one of these paths."""
        handler = self._handlers.get((request.method, request.path))
        if handler is None:
            return unknown_url(request.method, request.path)
        return handler(request)

    def _read_ledger(self, request: HttpRequest) -> HttpReply:
        """Return all rows, or the totals with `?summary=1`."""
        if request.query.get("summary") == "1":
            return json_reply(200, asdict(self._environment.ledger.summary()))
        return json_reply(200, rows_json(self._environment.ledger.rows()))

    def _read_script(self, _: HttpRequest) -> HttpReply:
        return json_reply(200, [fault_fields(rule) for rule in self._environment.script.rules()])

    def _write_script(self, request: HttpRequest) -> HttpReply:
        """Put a list of rules in force, or add them with `?append=1`."""
        try:
            rules = faults_from(read_json(request.body))
        except ValueError as exc:
            return error_reply(400, f"Not a script: {exc}")
        if request.query.get("append") == "1":
            self._environment.script.append(rules)
        else:
            self._environment.script.replace(rules)
        return self._read_script(request)

    def _read_batches(self, _: HttpRequest) -> HttpReply:
        enqueued = {
            key: {model: asdict(count) for model, count in models.items()}
            for key, models in self._batches.enqueued().items()
        }
        counts = {
            "files": len(self._files.stored()),
            "batches": self._batches.statuses(),
            "enqueued_tokens": enqueued,
        }
        return json_reply(200, {**self._environment.batch_controls.fields(), **counts})

    def _control_batches(self, request: HttpRequest) -> HttpReply:
        """Do what an object with some of the controls of batches says."""
        try:
            self._environment.batch_controls.update(read_json(request.body))
        except ValueError as exc:
            return error_reply(400, f"Not for batches: {exc}")
        return self._read_batches(request)

    def _begin_again(self, _: HttpRequest) -> HttpReply:
        self._reset()
        return json_reply(200, {})
