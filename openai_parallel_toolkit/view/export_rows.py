"""What an export holds: its tables, their columns and rows; see docs/how-to/export.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from ..calls.kept_texts import answer_text, request_text
from ..core.errors import UsageError
from ..files.tables import Column, Kind
from ..journal import (
    CallRecord,
    FileFailure,
    FileFigures,
    JournalReader,
    all_calls,
    all_files,
)
from ..journal.rows import StoredBody, is_whole

_KeptT = TypeVar("_KeptT", bound=StoredBody | None)
#: The table that is exported where none is named.
CALLS, FILES = "calls", "files"
#: The state of a call whose last attempt has no end.
UNANSWERED = "unanswered"
#: Digits after the point of a sum of money, which is a floating point number.
_USD_DIGITS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTable:
    """One of the tables that can be exported."""

    #: What its rows are called, one of them.
    unit: str
    columns: Sequence[Column]
    rows: Callable[[JournalReader], Iterator[Sequence[Any]]]


def export_table(name: str) -> ExportTable:
    """Return a table by its name.

    Raises:
        UsageError: there is none.
    """
    if name not in TABLES:
        raise UsageError(f"there is no table {name!r}; choose one of {', '.join(TABLES)}")
    return TABLES[name]


def _columns(**kinds: str) -> list[Column]:
    return [Column(name, Kind(kind)) for name, kind in kinds.items()]


def _call(call: CallRecord) -> Sequence[Any]:
    ended_s, service_s = call.ended_wall_s, call.service_s
    if service_s is None and ended_s is not None:
        service_s = ended_s - call.started_wall_s
    return (
        call.path,
        call.number,
        UNANSWERED if call.kind is None else call.kind.value,
        answer_text(_whole(call.answer)),
        request_text(_whole(call.request)),
        call.model,
        call.key_name,
        call.finish_reason or None,
        call.prompt_tokens,
        call.completion_tokens,
        call.cached_tokens,
        _number(call.cost_usd),
        _number(call.max_cost_usd),
        call.attempts,
        call.attempt_try + 1,
        call.status,
        call.code or None,
        call.message or None,
        call.first_wall_s,
        ended_s,
        None if service_s is None else round(service_s, 3),
        round(call.waited_s, 3),
        call.run_id,
        call.request_id or None,
        call.hash,
    )


def _whole(kept: _KeptT) -> _KeptT:
    """Return what is kept.

    Raises:
        JournalError: it is damaged.
    """
    if kept is not None and not is_whole(kept.stored, kept.crc):
        kept.body()
    return kept


def _number(amount: Decimal | None) -> float | None:
    return None if amount is None else float(amount)


def _file(file: FileFigures) -> Sequence[Any]:
    known, most = file.cost_usd, file.cost_usd + file.doubt_usd
    is_known = bool(known) or not (file.unpriced or most)
    return (
        file.path,
        file.state.value,
        file.failed_runs,
        file.attempts,
        file.answered,
        file.maybe_billed,
        file.prompt_tokens,
        file.completion_tokens,
        round(known, _USD_DIGITS) if is_known else None,
        None if file.unpriced else round(most, _USD_DIGITS),
        file.started_wall_s,
        file.ended_wall_s,
        list(file.outputs),
        file.failure_kind,
        file.failure_message,
    )


def _failure(failure: FileFailure) -> Sequence[Any]:
    note = failure.note
    return (
        failure.path,
        failure.state.value,
        failure.failed_runs,
        note.kind,
        note.message,
        note.trace,
    )


TABLES = {
    CALLS: ExportTable(
        unit="call",
        columns=_columns(
            file="text",
            call="whole",
            state="text",
            answer="text",
            prompt="text",
            model="text",
            key="text",
            finish_reason="text",
            prompt_tokens="whole",
            completion_tokens="whole",
            cached_tokens="whole",
            cost_usd="number",
            max_cost_usd="number",
            attempts="whole",
            **{"try": "whole"},
            status="whole",
            error_code="text",
            error="text",
            started_at="moment",
            ended_at="moment",
            seconds="number",
            waited_seconds="number",
            run="whole",
            request_id="text",
            hash="text",
        ),
        rows=lambda journal: map(_call, all_calls(journal)),
    ),
    FILES: ExportTable(
        unit="file",
        columns=_columns(
            file="text",
            state="text",
            failed_runs="whole",
            attempts="whole",
            answered="whole",
            maybe_billed="whole",
            prompt_tokens="whole",
            completion_tokens="whole",
            cost_usd="number",
            max_cost_usd="number",
            started_at="moment",
            ended_at="moment",
            outputs="texts",
            error_kind="text",
            error="text",
        ),
        rows=lambda journal: map(_file, all_files(journal)),
    ),
    "failures": ExportTable(
        unit="file",
        columns=_columns(
            file="text",
            state="text",
            failed_runs="whole",
            error_kind="text",
            error="text",
            trace="text",
        ),
        rows=lambda journal: map(_failure, journal.failures()),
    ),
}
