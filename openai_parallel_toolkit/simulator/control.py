"""The simulator's own paths, without a key and a row: read the bill, change the rules."""

from __future__ import annotations

from dataclasses import asdict

from .batches.batch_service import SimBatchService
from .batches.file_store import FileStore
from .environment import Environment
from .faults import fault_fields, faults_from
from .http_messages import HttpReply, HttpRequest, json_reply, read_json
from .ledger import rows_json
from .refusals import error_reply, unknown_url


def control_reply(
    request: HttpRequest, environment: Environment, files: FileStore, batches: SimBatchService
) -> HttpReply:
    """Do what a request for one of these paths says, and return the reply."""
    method_and_path = request.method, request.path
    if method_and_path == ("GET", "/__ledger"):
        if request.query.get("summary") == "1":
            return json_reply(200, asdict(environment.ledger.summary()))
        return json_reply(200, rows_json(environment.ledger.rows()))
    if request.path not in ("/__script", "/__batches") or request.method not in ("GET", "POST"):
        return unknown_url(*method_and_path)
    is_script = request.path == "/__script"
    if request.method == "POST":
        try:
            if is_script:
                rules = faults_from(read_json(request.body))
                is_more = request.query.get("append") == "1"
                (environment.script.append if is_more else environment.script.replace)(rules)
            else:
                environment.batch_controls.update(read_json(request.body))
        except ValueError as exc:
            return error_reply(400, f"Not {'a script' if is_script else 'for batches'}: {exc}")
    if is_script:
        return json_reply(200, [fault_fields(rule) for rule in environment.script.rules()])
    enqueued = {
        key: {model: asdict(count) for model, count in models.items()}
        for key, models in batches.enqueued().items()
    }
    counts = {
        "files": len(files.stored()),
        "batches": batches.statuses(),
        "enqueued_tokens": enqueued,
    }
    return json_reply(200, {**environment.batch_controls.fields(), **counts})
