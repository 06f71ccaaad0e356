"""Add up attempts over time, by key and by model, as the journal grows; flat in memory.

Rows are counted as whole numbers that hold several facts each, which is several times faster than
to group them in SQLite or one by one in Python. Every read is short, so no run waits for it.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core.records import OutcomeKind
from .queries import JournalQueries

#: Attempts that are read at a time.
_STEP = 20_000
#: Spans of time that are told apart, at most; then two become one.
_MOST_SPANS = 720
_KINDS = tuple(kind.value for kind in OutcomeKind)
#: Keys, and models, that are told apart; the rest is "other".
_MOST_NAMES = 64
_OTHER = "other"
#: Places of the facts in a number: an account is a key and a model.
_KIND, _KEY, _MODEL = 16, 128, 128
_ACCOUNTS = _KEY * _MODEL
#: Seconds up to which classes are so wide, and the class that the first of these would have.
_CLASSES = ((1.0, 0.005, 0), (10.0, 0.05, 180), (100.0, 0.5, 360), (math.inf, 5.0, 540))
#: Conditions; "attempt_" before them makes them those of endings.
_PART = "id BETWEEN :first + 1 AND :last"
_AMONG = "id IN (SELECT value FROM json_each(:ids))"
_ENDED = "FROM attempts JOIN endings ON attempt_id = id"


@dataclass(slots=True)
class Durations:
    """How many took how long, in classes of 0.5 to 5 %."""

    counts: Counter[int] = field(default_factory=Counter)

    def __len__(self) -> int:
        return self.counts.total()

    def quantile_s(self, share: float) -> float | None:
        """Return the seconds within which this share of them ended; None: there is none."""
        wanted, seen = share * len(self), 0
        for number in sorted(self.counts):
            seen += self.counts[number]
            if seen >= wanted:
                return upper_s(number)
        return None

    def below(self, edge_s: float) -> int:
        """Return how many took at most so many seconds, to within their class."""
        return sum(count for number, count in self.counts.items() if upper_s(number) <= edge_s)

    @property
    def total_s(self) -> float:
        """What they took together, to within their classes."""
        return sum(count * upper_s(number) for number, count in self.counts.items())

    def __add__(self, other: Durations) -> Durations:
        return Durations(self.counts + other.counts)


def upper_s(number: int) -> float:
    """Return the end of a class of seconds."""
    for up_to_s, width_s, first in _CLASSES:
        end_s = (number - first + 1) * width_s
        if end_s <= up_to_s:
            return round(end_s, 3)
    raise ValueError(number)


class Series:
    """What became of all attempts; `read` takes in what is new. Used by one thread at a time."""

    def __init__(self) -> None:
        #: Seconds of a span, and when the first one begins, since 1970.
        self.span_s = 1
        self.begin_wall_s = 0
        #: Attempts by (span, key, model, kind).
        self.ended: Counter[tuple[int, str, str, str]] = Counter()
        #: USD and tokens by span.
        self.cost_usd: defaultdict[int, float] = defaultdict(float)
        self.tokens: Counter[int] = Counter()
        #: By (key, model).
        self.served: defaultdict[tuple[str, str], Durations] = defaultdict(Durations)
        #: By (model, reason).
        self.waited: defaultdict[tuple[str, str], Durations] = defaultdict(Durations)
        self._last_id = 0
        self._open: set[int] = set()
        self._keys: list[str] = []
        self._models: list[str] = []

    @property
    def open_attempts(self) -> int:
        """Attempts that have no end: in flight, or lost when their process died."""
        return len(self._open)

    @property
    def spans(self) -> int:
        """How many there are up to the last that holds anything."""
        return 1 + max((at for at, *_ in self.ended), default=-1)

    def read(self, source: JournalQueries) -> None:
        """Take in what the journal holds more than the last time."""
        high = source.one("SELECT max(id) FROM attempts") or 0
        self._learn_names(source)
        if not self.begin_wall_s:
            self._fit(source)
        self._look_again(source)
        for first in range(self._last_id, high, _STEP):
            self._take_in(source, {"first": first, "last": min(first + _STEP, high)})
        self._last_id = max(high, self._last_id)
        while self.spans > _MOST_SPANS:
            self._widen()

    def _take_in(self, source: JournalQueries, part: Mapping[str, int]) -> None:
        ended = self._add(source, _PART, part)
        self._add_waits(source, _PART, part)
        if ended < part["last"] - part["first"]:
            query = (
                "SELECT id FROM attempts LEFT JOIN endings ON attempt_id = id "  # noqa: S608
                f"WHERE {_PART} AND attempt_id IS NULL"
            )
            self._open.update(id for (id,) in source.rows(query, part))

    def _fit(self, source: JournalQueries) -> None:
        """Choose spans such that what is there fits."""
        ends = (
            "SELECT started_wall_s FROM attempts ORDER BY id LIMIT 1",
            "SELECT started_wall_s FROM attempts ORDER BY id DESC LIMIT 1",
        )
        first_s, last_s = map(source.one, ends)
        if first_s is None:
            return
        self.begin_wall_s = math.floor(first_s)
        while (last_s - first_s) / self.span_s > _MOST_SPANS / 2:
            self.span_s *= 2

    def _learn_names(self, source: JournalQueries) -> None:
        for names, column in ((self._keys, "key_name"), (self._models, "model")):
            for (name,) in source.rows(f"SELECT DISTINCT {column} FROM tallies"):  # noqa: S608
                if name not in names and len(names) < _MOST_NAMES:
                    names.append(name)

    def _add(self, source: JournalQueries, where: str, values: Mapping[str, Any]) -> int:
        """Add the attempts that have ended, and return how many those are."""
        known = {
            **{f"kind{at}": kind for at, kind in enumerate(_KINDS)},
            **{f"key{at}": name for at, name in enumerate(self._keys)},
            **{f"model{at}": name for at, name in enumerate(self._models)},
        }
        account = (
            f"({_place('key_name', 'key', len(self._keys))} * {_MODEL} + "
            f"{_place('model', 'model', len(self._models))})"
        )
        kind = _place("kind", "kind", len(_KINDS))
        rows = source.rows(
            f"SELECT ({self._span} * {_KIND} + {kind}) * {_ACCOUNTS} + {account}, "
            f"{_class('service_s')} * {_ACCOUNTS} + {account} {_ENDED} WHERE {where}",
            {**known, **values},
        )
        if rows:
            ended, served = zip(*rows, strict=True)
            self._count(Counter(ended), Counter(served))
        money = source.rows(
            f"SELECT {self._span}, sum(cost_usd), "  # noqa: S608
            "sum(ifnull(prompt_tokens, 0) + ifnull(completion_tokens, 0)) "
            f"FROM endings WHERE attempt_{where} GROUP BY 1",
            values,
        )
        for span, cost_usd, tokens in money:
            self.cost_usd[span] += cost_usd or 0.0
            self.tokens[span] += tokens or 0
        return len(rows)

    @property
    def _span(self) -> str:
        begin = f"CAST((ended_wall_s - {self.begin_wall_s:d}) / {self.span_s:d} AS INTEGER)"
        return f"max(0, {begin})"

    def _count(self, ended: Counter[int], served: Counter[int | None]) -> None:
        for code, count in ended.items():
            rest, account = divmod(code, _ACCOUNTS)
            span, kind = divmod(rest, _KIND)
            key, model = self._names(account)
            self.ended[span, key, model, _KINDS[kind]] += count
        for known, count in served.items():
            if known is not None:
                number, account = divmod(known, _ACCOUNTS)
                self.served[self._names(account)].counts[number] += count

    def _names(self, account: int) -> tuple[str, str]:
        key, model = divmod(account, _MODEL)
        return (
            self._keys[key] if key < len(self._keys) else _OTHER,
            self._models[model] if model < len(self._models) else _OTHER,
        )

    def _add_waits(self, source: JournalQueries, where: str, values: Mapping[str, Any]) -> None:
        waits = source.rows(
            f"SELECT model, wait_reason, {_class('waited_s')}, count(*) "  # noqa: S608
            f"FROM attempts WHERE {where} AND waited_s > 0 GROUP BY 1, 2, 3",
            values,
        )
        for model, reason, number, count in waits:
            self.waited[model, reason].counts[number] += count

    def _look_again(self, source: JournalQueries) -> None:
        """Take in the ends of attempts that had none."""
        waiting = sorted(self._open)
        for first in range(0, len(waiting), _STEP):
            ids = json.dumps(waiting[first : first + _STEP])
            over = source.rows(
                f"SELECT attempt_id FROM endings WHERE attempt_{_AMONG}",  # noqa: S608
                {"ids": ids},
            )
            found = [id for (id,) in over]
            if found:
                self._add(source, _AMONG, {"ids": json.dumps(found)})
                self._open.difference_update(found)

    def _widen(self) -> None:
        """Make two spans one."""
        self.span_s *= 2
        halved: Counter[tuple[int, str, str, str]] = Counter()
        for (at, key, model, kind), count in self.ended.items():
            halved[at // 2, key, model, kind] += count
        self.ended = halved
        for amounts in (self.cost_usd, self.tokens):
            before = dict(amounts)
            amounts.clear()
            for at, amount in before.items():
                amounts[at // 2] += amount  # type: ignore[assignment]


def _place(column: str, name: str, count: int) -> str:
    """Return SQL for the place of a column's value among parameters; `count`: it is not there."""
    whens = " ".join(f"WHEN :{name}{at} THEN {at}" for at in range(count))
    return f"CASE {column} {whens} ELSE {count} END" if count else "0"


def _class(column: str) -> str:
    """Return SQL for the class of so many seconds."""
    *whens, last = (
        (up_to_s, f"{first} + CAST({column} * {1 / width_s:g} AS INTEGER)")
        for up_to_s, width_s, first in _CLASSES
    )
    cases = " ".join(f"WHEN {column} < {up_to_s} THEN {number}" for up_to_s, number in whens)
    return f"CASE {cases} ELSE {last[1]} END"
