"""Lists and single things that the page asks for: files, calls, and one of each, as JSON values."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..calls.kept_texts import answer_text, request_text
from ..core.errors import UsageError
from ..core.filesystem import path_text
from ..core.records import FileState, OutcomeKind
from ..journal import Attempt, JournalReader
from ..journal.kept_calls import CallFilter
from ..journal.reader import LAST_CALL
from .safe import MOST_TEXT, Safe

_PAGE = 50
#: Characters of a prompt and an answer in a list.
_MOST_SHOWN = 160
#: Seconds that a search takes before it tells how far it is.
_PATIENCE_S = 0.4
_FILES = (
    "SELECT files.id, folder, name, state, failed_runs, failure_kind, failure_message, "
    "changed_wall_s, {cost} FROM files {join} WHERE state IS NOT NULL AND {where} "
    "ORDER BY {order} LIMIT ?"
)
_COSTS = (
    "JOIN (SELECT file_id, count(*) AS calls, sum(cost_usd) AS cost_usd FROM attempts "
    "LEFT JOIN endings ON attempt_id = id GROUP BY file_id) AS spent ON spent.file_id = files.id"
)
_OF_FILE = (
    "(SELECT count(*) FROM attempts WHERE file_id = files.id), (SELECT sum(cost_usd) "
    "FROM attempts JOIN endings ON attempt_id = attempts.id WHERE file_id = files.id)"
)


class Details:
    """Answers what the page asks; used by one thread at a time."""

    def __init__(self, reader: JournalReader, safe: Safe) -> None:
        self._reader = reader
        self._safe = safe

    def files(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """Return a page of files: after an id, in a state, with a text in the name, or by cost."""
        state, text = asked.get("state", ""), asked.get("text", "")
        if state and state not in {one.value for one in FileState}:
            raise UsageError("state: there is no such state of a file")
        where, values = ["files.id > ?"], [whole(asked, "after", 0)]
        if state:
            # The second condition is what lets SQLite use the index.
            where.append(f"state = '{state}'" + " AND state <> 'done'" * (state != "done"))
        if text:
            where.append("instr(lower(CAST(folder || x'2f' || name AS TEXT)), ?)")
            values.append(text.lower())  # type: ignore[arg-type]
        by_cost = asked.get("order") == "cost"
        query = _FILES.format(
            cost="calls, cost_usd" if by_cost else _OF_FILE,
            join=_COSTS if by_cost else "",
            where=" AND ".join(where),
            order="cost_usd DESC" if by_cost else "files.id",
        )
        rows = self._reader.rows(query, (*values, _PAGE))
        more = rows[-1][0] if len(rows) == _PAGE and not by_cost else None
        return {"files": [self._file(row) for row in rows], "more": more}

    def _file(self, row: tuple[Any, ...]) -> dict[str, Any]:
        file_id, folder, name, state, failed_runs, kind, message, changed_s, calls, cost = row
        return {
            "id": file_id,
            "path": self._safe.line(path_text(folder + b"/" + name if folder else name)),
            "state": state,
            "failed_runs": failed_runs,
            "failure": self._safe.line(f"{kind}: {message}")[:500] if kind else "",
            "changed_s": changed_s,
            "calls": calls,
            "cost_usd": cost,
        }

    def file(self, file_id: int) -> dict[str, Any]:
        """Return what is known of one file, without its calls."""
        rows = self._reader.rows(
            _FILES.format(cost=_OF_FILE, join="", where="files.id = ?", order="files.id"),
            (file_id, 1),
        )
        if not rows:
            raise UsageError("the journal knows no such file")
        trace = self._reader.one("SELECT failure_trace FROM files WHERE id = ?", file_id)
        outputs = [
            {"path": self._safe.line(one.final), "size_bytes": one.size_bytes}
            for one in self._reader.outputs(file_id)
        ]
        told = self._file(rows[0])
        return {**told, "trace": self._safe.text(trace or ""), "outputs": outputs}

    def calls(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """Return a page of calls, the newest first, or how far a search for a text has come."""
        only = _filter(asked)
        before, text = whole(asked, "before", LAST_CALL), asked.get("text", "")
        if not text:
            found = self._reader.calls(only, before=before, limit=_PAGE, newest_first=True)
            more = found[-1][1].id if len(found) == _PAGE else None
            return {"calls": [self.short(*one) for one in found], "more": more}
        ids, until_s = list[int](), time.monotonic() + _PATIENCE_S
        more = before
        while more is not None and len(ids) < _PAGE and time.monotonic() < until_s:
            page, more = self._reader.calls_with(text, only, more)
            ids += page
        found = [one for one in map(self._reader.call, ids) if one is not None]
        return {"calls": [self.short(*one) for one in found], "more": more}

    def call(self, attempt_id: int) -> dict[str, Any]:
        """Return one call with its prompt and its answer whole."""
        found = self._reader.call(attempt_id)
        if found is None:
            raise UsageError("the journal knows no such call")
        return self._told(*found, most=MOST_TEXT)

    def short(self, path: str, attempt: Attempt) -> dict[str, Any]:
        """Return a call as a list shows it."""
        return self._told(path, attempt, most=_MOST_SHOWN)

    def _told(self, path: str, attempt: Attempt, *, most: int) -> dict[str, Any]:
        ending = attempt.ending
        told = {
            "id": attempt.id,
            "file": path,
            "run": attempt.run_id,
            "key": attempt.key_name,
            "model": attempt.model,
            "started_s": attempt.started_wall_s,
            "waited_s": attempt.waited_s,
            "wait_reason": attempt.wait_reason,
            "try": attempt.attempt_try,
            "max_cost_usd": attempt.max_cost_usd,
            "ending": ending and {**asdict(ending), "kind": ending.kind.value},
        }
        safe: dict[str, Any] = self._safe.values(told)
        for name, text in (
            ("prompt", request_text(attempt.request)),
            ("answer", answer_text(attempt.answer)),
        ):
            safe[name] = self._shown(text, most)
        return safe

    def _shown(self, text: str | None, most: int) -> str | None:
        if text is None or most == MOST_TEXT:
            return self._safe.text(text)
        short = self._safe.line(" ".join(text[: 2 * most].split()))
        return short if len(short) <= most else f"{short[: most - 1]}…"

    def file_id_of(self, path: str) -> int | None:
        """Return a file's id; None: it is not known."""
        record = self._reader.known(path)
        return None if record is None else record.id


def _filter(asked: Mapping[str, str]) -> CallFilter:
    kind = asked.get("kind") or None
    if kind is not None and kind not in {one.value for one in OutcomeKind}:
        raise UsageError("kind: there is no such end of a call")
    return CallFilter(
        file_id=whole(asked, "file", 0) or None,
        kind=OutcomeKind(kind) if kind else None,
        key_name=asked.get("key") or None,
        model=asked.get("model") or None,
    )


def whole(asked: Mapping[str, str], name: str, default: int) -> int:
    """Return a whole number that was asked for."""
    given = asked.get(name, "")
    if given and not (given.isascii() and given.isdigit() and len(given) <= 19):
        raise UsageError(f"{name}: expected a whole number")
    return min(int(given), LAST_CALL) if given else default
