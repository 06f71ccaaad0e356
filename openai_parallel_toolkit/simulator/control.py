"""The simulator's own paths: read the bill, change the rules, begin again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from .batches.cabinet import FileCabinet
from .batches.course import Steering
from .batches.office import BatchOffice
from .faults import FaultScript, fault_fields, faults_from
from .http1 import HttpRequest, Reply, json_reply, read_json
from .ledger import Ledger, rows_json, summary_json
from .refusals import error_reply, unknown_url


class Control:
    """Serves `/__ledger`, `/__script`, `/__batches`, `/__reset`, without a key and a row."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        script: FaultScript,
        files: FileCabinet,
        batches: BatchOffice,
        steering: Steering,
        reset: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._script = script
        self._files = files
        self._batches = batches
        self._steering = steering
        self._reset = reset
        self._handlers = {
            ("GET", "/__ledger"): self._read_ledger,
            ("GET", "/__script"): self._read_script,
            ("POST", "/__script"): self._write_script,
            ("GET", "/__batches"): self._read_batches,
            ("POST", "/__batches"): self._steer_batches,
            ("POST", "/__reset"): self._begin_again,
        }

    def owns(self, path: str) -> bool:
        """Return whether a path belongs here."""
        return path.startswith("/__")

    def handle(self, request: HttpRequest) -> Reply:
        """Return the reply to a request for one of these paths."""
        handler = self._handlers.get((request.method, request.path))
        if handler is None:
            return unknown_url(request.method, request.path)
        return handler(request)

    def _read_ledger(self, request: HttpRequest) -> Reply:
        """Return all rows, or the totals with `?summary=1`."""
        if request.query.get("summary") == "1":
            return json_reply(200, summary_json(self._ledger.summary()))
        return json_reply(200, rows_json(self._ledger.rows()))

    def _read_script(self, _: HttpRequest) -> Reply:
        return json_reply(200, [fault_fields(rule) for rule in self._script.rules()])

    def _write_script(self, request: HttpRequest) -> Reply:
        """Put a list of rules in force, or add them with `?append=1`."""
        try:
            rules = faults_from(read_json(request.body))
        except ValueError as exc:
            return error_reply(400, f"Not a script: {exc}")
        if request.query.get("append") == "1":
            self._script.append(rules)
        else:
            self._script.replace(rules)
        return self._read_script(request)

    def _read_batches(self, _: HttpRequest) -> Reply:
        enqueued = {
            key: {model: asdict(count) for model, count in models.items()}
            for key, models in self._batches.enqueued().items()
        }
        counts = {
            "files": len(self._files.stored()),
            "batches": self._batches.statuses(),
            "enqueued_tokens": enqueued,
        }
        return json_reply(200, {**self._steering.fields(), **counts})

    def _steer_batches(self, request: HttpRequest) -> Reply:
        """Do what an object with some of Steering's wishes says."""
        try:
            self._steering.steer(read_json(request.body))
        except ValueError as exc:
            return error_reply(400, f"Not for batches: {exc}")
        return self._read_batches(request)

    def _begin_again(self, _: HttpRequest) -> Reply:
        self._reset()
        return json_reply(200, {})
