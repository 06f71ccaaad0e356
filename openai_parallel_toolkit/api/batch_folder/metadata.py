"""Describe what came of an input, for programs that map results back to it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from ...journal.batch_rows import BatchRecord
from .job import Job


def metadata_of(
    job: Job,
    rounds: Sequence[BatchRecord],
    *,
    input_url: str,
    ended_wall_s: float,
    output_name: str | None,
) -> bytes:
    """Return a JSON document; times are ISO 8601 in UTC, money is USD as text.

    `batch_id` and the file ids are those of the last batch; all of them stand under `batches`. The
    last fields say some of it again under the names that the Azure batch accelerator gives them.
    """
    last = rounds[-1] if rounds else None
    figures = job.figures
    told = {
        "input": job.path,
        "input_url": input_url,
        "status": "failed" if job.findings else last.told.status if last else "",
        "batch_id": last and last.remote_id,
        "input_file_id": last and last.input_file_id,
        "output_file_id": last and last.told.output_file_id,
        "error_file_id": last and last.told.error_file_id,
        "endpoint": job.url,
        "model": job.model,
        "size_bytes": job.size_bytes,
        "lines": {
            "total": job.lines,
            "answered": figures.answered,
            "failed": figures.failed,
            "strangers": figures.unmatched,
        },
        "tokens": {
            "counted_prompt": job.prompt_tokens,
            "prompt": figures.usage.prompt_tokens,
            "completion": figures.usage.completion_tokens,
            "cached": figures.usage.cached_tokens,
        },
        "cost_usd": str(figures.cost_usd) if figures.unpriced < max(1, figures.answered) else None,
        "max_cost_usd": None if figures.unpriced else str(figures.cost_usd + figures.doubt_usd),
        "lines_in_doubt": figures.in_doubt,
        "lines_without_price": figures.unpriced,
        "taken": _moment(job.taken_wall_s),
        "ended": _moment(ended_wall_s),
        "batches": [_round(one) for one in rounds],
        "findings": [asdict(finding) for finding in job.findings],
        "findings_count": job.findings_count,
        "file_name": job.path,
        "batch_job_id": last and last.remote_id,
        "file_id": last and last.input_file_id,
        "token_size": "N/A" if job.prompt_tokens is None else job.prompt_tokens,
        "output_file_name": output_name,
    }
    return json.dumps(told, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace")


def error_lines(job: Job) -> bytes:
    """Return why a whole input failed, one JSON object a line: `line`, `code`, `message`."""
    told = [
        {"line": finding.line, "code": finding.code, "message": finding.message}
        for finding in job.findings
    ]
    return b"".join(json.dumps(one).encode() + b"\n" for one in told)


def _round(batch: BatchRecord) -> dict[str, Any]:
    told = batch.told
    return {
        "batch_id": batch.remote_id,
        "status": told.status,
        "key": batch.key_name,
        "input_file_id": batch.input_file_id,
        "output_file_id": told.output_file_id,
        "error_file_id": told.error_file_id,
        "total": told.total,
        "completed": told.completed,
        "failed": told.failed,
        "created": _moment(told.created_wall_s),
        "ended": _moment(told.ended_wall_s),
    }


def _moment(wall_s: float | None) -> str | None:
    if not wall_s:
        return None
    return datetime.fromtimestamp(wall_s, timezone.utc).isoformat(timespec="seconds")
