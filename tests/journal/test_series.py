"""Attempts are added up over time as the journal grows."""

from contextlib import closing
from decimal import Decimal

import pytest
from journal_fixture import BUSY, OK, call, claim

from openai_parallel_toolkit.core.clock import FakeClock
from openai_parallel_toolkit.journal import Journal, JournalReader
from openai_parallel_toolkit.journal.series import Durations, Series, upper_s


def end(journal, attempt, what, *, is_ok=True, service_s=1.0):
    if is_ok:
        cost = Decimal("0.5")
        journal.answered(attempt, call(1, what), OK, b"{}", cost, service_s=service_s)
    else:
        journal.ended(attempt, BUSY, service_s=service_s)
    journal.flush()


def test_attempts_are_counted_once_however_late_they_end(state):
    clock = FakeClock()
    with closing(Journal.open(state, clock=clock)) as journal, JournalReader(state) as reader:
        journal.begin_run("v1")
        series = Series()
        series.read(reader)
        assert series.spans == 0
        late = claim(journal, call(1, "late"), waited_s=2.0, wait_reason="cooling")
        end(journal, claim(journal, call(1, "a"), key="other"), "a", is_ok=False)
        series.read(reader)
        assert (series.open_attempts, sum(series.ended.values())) == (1, 1)
        clock.advance(5)
        end(journal, late, "late", service_s=5.0)
        for _ in range(3):
            series.read(reader)
    assert series.open_attempts == 0
    assert dict(series.ended) == {(0, "other", "m", "busy"): 1, (5, "key-1", "m", "ok"): 1}
    assert (dict(series.cost_usd), dict(series.tokens)) == ({0: 0.0, 5: 0.5}, {0: 0, 5: 15})
    assert series.served["key-1", "m"].quantile_s(0.5) == pytest.approx(5, rel=0.02)
    assert len(series.waited["m", "cooling"]) == 1


def test_a_long_run_has_as_many_spans_as_a_short_one(state):
    clock = FakeClock()
    with closing(Journal.open(state, clock=clock)) as journal, JournalReader(state) as reader:
        journal.begin_run("v1")
        series = Series()
        for hour in range(12):
            clock.advance(3600)
            end(journal, claim(journal, call(1, hour)), hour)
            series.read(reader)
    assert series.spans <= 720
    assert sum(series.ended.values()) == 12
    assert sum(series.cost_usd.values()) == 6.0


@pytest.mark.parametrize("seconds", [0.001, 0.3, 0.999, 1, 4.2, 9.99, 10, 55, 100, 1800, 86_400])
def test_classes_of_seconds_are_narrow(state, seconds):
    with closing(Journal.open(state)) as journal, JournalReader(state) as reader:
        journal.begin_run("v1")
        end(journal, claim(journal, call(1, "a")), "a", service_s=float(seconds))
        series = Series()
        series.read(reader)
    found = series.served["key-1", "m"].quantile_s(0.99)
    assert seconds < found <= max(seconds * 1.06, seconds + 0.005)
    assert series.served["key-1", "m"].below(found) == 1
    assert Durations().quantile_s(0.5) is None
    assert upper_s(0) == 0.005
