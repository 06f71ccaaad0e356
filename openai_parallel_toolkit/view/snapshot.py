"""What the page shows of one output folder, as JSON values."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from typing import Any

from ..core.clock import Clock
from ..core.errors import RunLocked
from ..core.records import FileState, OutcomeKind
from ..costs.figures import Figures
from ..files.run_lock import RunLock
from ..files.run_progress import read_progress
from ..journal import JournalReader, RunRecord, Status
from ..journal.series import Durations, Series
from .causes import by_cause
from .safe import Safe

_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
#: How what is asked ends, as it is told in three words.
_ANSWERED = {OutcomeKind.OK.value, OutcomeKind.UNUSABLE.value}
_LOST = {OutcomeKind.UNKNOWN.value}
_NO_QUANTILES = dict.fromkeys(_QUANTILES)
_NO_SERIES: dict[str, Any] = {"limits": 0, "kinds": {}, "answers": [], **_NO_QUANTILES}
_NO_WAITS: dict[str, Any] = {
    **_NO_QUANTILES,
    **{f"wait_{q}": None for q in _QUANTILES},
    "waited": 0,
    "reasons": {},
}
#: Failures that are looked at, and causes, runs and jobs that are told.
_MOST_FAILURES, _MOST_CAUSES, _MOST_RUNS, _MOST_JOBS = 20_000, 20, 20, 200
#: Seconds over which the pace is taken.
_PACE_S = 60.0
#: What a run told last counts for now for so long.
_FRESH_S = 15.0
_RUN_WORDS = {"finished": "finished", "stopped": "stopped"}


class Snapshot:
    """Takes pictures of a folder whose journal is read, and of what its run tells.

    Used by one thread at a time. It never takes a lock.
    """

    def __init__(self, folder: str, title: str, *, clock: Clock, safe: Safe) -> None:
        """Look at a state folder; `title` is what the user calls the output."""
        self.folder = folder
        self.title = title
        self.safe = safe
        self.series = Series()
        self._clock = clock
        #: As `charts` read them last.
        self._series_of_keys: dict[str, dict[str, Any]] = {}
        self._series_of_models: dict[str, dict[str, Any]] = {}
        self._paces: deque[tuple[float, int]] = deque()
        self._causes: tuple[object, list[dict[str, Any]]] = (None, [])

    def take(self, reader: JournalReader) -> dict[str, Any]:
        """Return how it stands."""
        wall_s = self._clock.wall_s()
        status, progress = reader.status(), read_progress(self.folder)
        holder = RunLock(self.folder).holder()
        run = status.run
        if run is None or float(progress.get("wall_s") or 0) < run.started_wall_s:
            progress = {}  # an earlier run told it
        is_live = holder is not None and wall_s - float(progress.get("wall_s") or 0) < _FRESH_S
        told = {
            "title": self.title,
            "now_s": wall_s,
            "state": self._state(run, holder, progress),
            "is_on": holder is not None,
            "is_batch_folder": bool(reader.one("SELECT 1 FROM jobs LIMIT 1")),
            "work": self._work(status, progress, is_live=is_live),
            "money": self._money(status, progress),
            "waiting": progress.get("waiting", "") if is_live else "",
            "waiting_until_s": progress.get("waiting_until_wall_s") if is_live else None,
            "calls": _counts(status.totals.all_runs),
            "files": {state.value: count for state, count in status.files.items()},
            "keys": self._keys(status, progress, is_live=is_live),
            "models": self._models(status),
            "causes": self._by_cause(reader, status),
            "batches": asdict(status.batches),
            "jobs": list(islice(_jobs(reader), _MOST_JOBS)),
            "runs": [_run(one) for one in islice(_runs(reader), _MOST_RUNS)],
            "settings": json.loads(run.settings_json) if run else {},
            "place": os.path.dirname(reader.path),
        }
        safe: dict[str, Any] = self.safe.values(told)
        return safe

    def _state(
        self, run: RunRecord | None, holder: RunLocked | None, progress: Mapping[str, Any]
    ) -> dict[str, Any]:
        if holder is not None:
            is_stopping = bool(progress.get("is_stopping"))
            word = "stopping" if is_stopping else "running" if run is not None else "starting"
            if run is not None and run.ended_wall_s is not None:
                word = "starting"
        elif run is None:
            word = "not begun"
        elif run.ended_wall_s is None:
            word = "died"
        else:
            word = _RUN_WORDS.get(run.how, run.how)
        stopped = json.loads(run.summary_json).get("stopped", "") if run else ""
        return {
            "word": word,
            "why": stopped if word == "stopped" else "",
            "pid": holder.pid if holder else None,
            "since_s": run.started_wall_s if run else None,
            "ended_s": run.ended_wall_s if run else None,
            "told_s": progress.get("wall_s"),
        }

    def _work(
        self, status: Status, progress: Mapping[str, Any], *, is_live: bool
    ) -> dict[str, Any]:
        """Tell how many files or lines there are, and when they will be done."""
        known = sum(status.files.values())
        finished = status.files[FileState.DONE] + status.files[FileState.FAILED]
        unit, total = "file", known
        if progress:
            finished, total = int(progress["finished"]), int(progress["total"])
            unit = str(progress["unit"])
        failed = status.files[FileState.FAILED] + status.files[FileState.ASIDE]
        if unit == "line":
            failed = int(progress.get("failed", 0))
        return {
            "unit": unit,
            "finished": finished,
            "total": max(total, finished),
            "failed": min(failed, finished),
            "eta_s": self._eta_s(progress, total - finished) if is_live else None,
        }

    def _eta_s(self, progress: Mapping[str, Any], left: int) -> float | None:
        """Return the seconds until all is done at the pace of late; None: there is none."""
        told_s, finished = float(progress["wall_s"]), int(progress["finished"])
        if not self._paces or self._paces[-1][0] < told_s:
            self._paces.append((told_s, finished))
        while len(self._paces) > 2 and told_s - self._paces[1][0] > _PACE_S:
            self._paces.popleft()
        then_s, then = self._paces[0]
        if told_s - then_s < _PACE_S / 4:  # it was not looked at for long: the whole run's pace
            then_s, then = float(progress["since_wall_s"]), int(progress.get("began_with") or 0)
        pace = (finished - then) / max(told_s - then_s, 0.001)
        return None if pace <= 0 else left / pace

    def _money(self, status: Status, progress: Mapping[str, Any]) -> dict[str, Any]:
        all_runs, run = status.totals.all_runs, status.totals.this_run
        funds = progress.get("funds") or {}
        done = int(progress.get("finished") or 0) - int(progress.get("began_with") or 0)
        left = int(progress.get("total") or 0) - int(progress.get("finished") or 0)
        projected = None
        if done > 0:
            projected = float(all_runs.cost_usd) + float(run.cost_usd) / done * left
        settings = json.loads(status.run.settings_json) if status.run else {}
        cap = funds.get("cap_usd", settings.get("max_cost"))
        return {
            "known_usd": float(all_runs.cost_usd),
            "this_run_usd": float(run.cost_usd),
            "maybe_usd": float(all_runs.doubt_usd),
            "maybe_calls": all_runs.unknown + all_runs.unanswered,
            "in_flight": all_runs.unanswered,
            "unpriced": all_runs.unpriced,
            "is_known": all_runs.cost.is_known,
            "projected_usd": projected,
            "cap_usd": None if cap is None else float(cap),
        }

    def _keys(
        self, status: Status, progress: Mapping[str, Any], *, is_live: bool
    ) -> list[dict[str, Any]]:
        live = {key["name"]: key for key in progress.get("keys", ())}
        if not live and status.run is not None:  # it has ended
            ended = json.loads(status.run.summary_json).get("keys", ())
            live = {key["name"]: key for key in ended}
        names = sorted({*status.by_key, *live, *status.dropped} - {""})
        return [self._key(name, status, live.get(name, {}), is_live=is_live) for name in names]

    def _key(
        self, name: str, status: Status, now: Mapping[str, Any], *, is_live: bool
    ) -> dict[str, Any]:
        figures = status.by_key.get(name, Figures())
        dropped = status.dropped.get(name)
        usual = "alive" if figures.answered else "unused"
        state = "dropped" if dropped is not None else str(now.get("state", usual))
        if not is_live and state == "cooling":
            state = "alive"
        return {
            "name": name,
            "state": state,
            "reason": dropped or now.get("reason", ""),
            "until_s": now.get("cooling_until_wall_s") if is_live else None,
            "in_flight": now.get("in_flight", 0) if is_live else 0,
            **self._series_of_keys.get(name, _NO_SERIES),
            **_counts(figures),
        }

    def _models(self, status: Status) -> list[dict[str, Any]]:
        return [
            {"name": name, **_counts(figures), **self._series_of_models.get(name, _NO_WAITS)}
            for name, figures in sorted(status.by_model.items())
        ]

    def _by_cause(self, reader: JournalReader, status: Status) -> list[dict[str, Any]]:
        mark = (status.files[FileState.FAILED], status.files[FileState.ASIDE], status.run)
        if self._causes[0] != mark:
            found = by_cause(islice(reader.failures(), _MOST_FAILURES))
            settings = json.loads(status.run.settings_json) if status.run else {}
            again = str(settings.get("command", ""))
            causes = [{**asdict(one), **_again(again, one.aside)} for one in found]
            self._causes = mark, causes[:_MOST_CAUSES]
        return self._causes[1]

    def charts(self, reader: JournalReader) -> dict[str, Any]:
        """Return what changes over time, with what the journal holds by now."""
        series = self.series
        series.read(reader)
        self._series_of_keys = _by_key(series)
        self._series_of_models = _by_model(series)
        count = series.spans
        lines = {name: [0] * count for name in ("answered", "refused", "lost")}
        for (at, _, _, kind), number in series.ended.items():
            lines[_fate(kind)][at] += number
        spent, costs = 0.0, []
        for at in range(count):
            spent += series.cost_usd.get(at, 0.0)
            costs.append(round(spent, 6))
        begin_s, span_s = series.begin_wall_s, series.span_s
        return {
            "begin_s": begin_s,
            "span_s": span_s,
            "times": [begin_s + at * span_s for at in range(count)],
            **lines,
            "cost": costs,
            "tokens": [series.tokens.get(at, 0) for at in range(count)],
        }


def _by_key(series: Series) -> dict[str, dict[str, Any]]:
    """Return how each key did over time."""
    kinds: defaultdict[str, Counter[str]] = defaultdict(Counter)
    answers: defaultdict[str, list[int]] = defaultdict(lambda: [0] * series.spans)
    for (at, key, _, kind), count in series.ended.items():
        kinds[key][kind] += count
        answers[key][at] += count * (kind in _ANSWERED)
    served: defaultdict[str, Durations] = defaultdict(Durations)
    for (key, _), durations in series.served.items():
        served[key] += durations
    return {
        key: {
            "limits": found[OutcomeKind.BUSY.value],
            "kinds": dict(found),
            "answers": answers[key],
            **_quantiles(served[key]),
        }
        for key, found in kinds.items()
    }


def _by_model(series: Series) -> dict[str, dict[str, Any]]:
    """Return how long each model took, and how long was waited for a key."""
    served: defaultdict[str, Durations] = defaultdict(Durations)
    for (_, model), durations in series.served.items():
        served[model] += durations
    waited: defaultdict[str, Durations] = defaultdict(Durations)
    reasons: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for (model, why), durations in series.waited.items():
        waited[model] += durations
        reasons[model][why or "key"] = len(durations)
    return {
        model: {
            **_quantiles(served[model]),
            **{f"wait_{q}": s for q, s in _quantiles(waited[model]).items()},
            "waited": len(waited[model]),
            "reasons": reasons[model],
        }
        for model in {*served, *waited}
    }


def _fate(kind: str) -> str:
    return "answered" if kind in _ANSWERED else "lost" if kind in _LOST else "refused"


def _counts(figures: Figures) -> dict[str, Any]:
    names = ("sent", "answered", "unknown", "unanswered", "prompt_tokens", "completion_tokens")
    return {
        **{name: getattr(figures, name) for name in (*names, "cached_tokens", "unpriced")},
        "cost_usd": float(figures.cost_usd),
    }


def _quantiles(durations: Durations) -> dict[str, float | None]:
    return {name: durations.quantile_s(share) for name, share in _QUANTILES.items()}


def _runs(reader: JournalReader) -> Iterator[RunRecord]:
    run = reader.last_run()
    while run is not None:
        yield run
        run = reader.last_run(run.id)


def _run(run: RunRecord) -> dict[str, Any]:
    return {
        "number": run.id,
        "started_s": run.started_wall_s,
        "ended_s": run.ended_wall_s,
        "how": run.how,
        "host": run.host,
        "stopped": json.loads(run.summary_json).get("stopped", ""),
    }


def _jobs(reader: JournalReader) -> Iterator[dict[str, Any]]:
    for _, facts, batch in reader.jobs_and_batches():
        yield {
            "path": facts.get("path", ""),
            "stage": batch.stage.value if batch else facts.get("stage", ""),
            "batch": batch.remote_id if batch else None,
            "lines": facts.get("lines", 0),
        }


def _again(command: str, aside: int) -> dict[str, Any]:
    """Return what tries files again that failed: the command that they failed under, if known."""
    option = " --retry-failed" if aside and " run " in command else ""
    if command and (option or not aside):
        return {"again": f"{command}{option}", "is_command": True}
    words = "run the same again" + ", with retry_failed=True (--retry-failed)" * bool(aside)
    return {"again": words, "is_command": False}
