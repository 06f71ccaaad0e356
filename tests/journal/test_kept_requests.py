"""The journal keeps what was asked, how long it waited and how it ended."""

import json
import os
import sqlite3
from contextlib import closing

import pytest
from journal_fixture import BUSY, FILE, OK, answer, call, claim

from openai_parallel_toolkit.core.records import OutcomeKind
from openai_parallel_toolkit.journal import Journal, JournalReader, prune
from openai_parallel_toolkit.journal.kept_calls import CallFilter
from openai_parallel_toolkit.journal.schema import STEPS, migrate

BODY = json.dumps({"messages": [{"role": "user", "content": "Größe of Mont Blanc " * 40}]}).encode()


@pytest.fixture
def journal(state):
    with_run = Journal.open(state)
    with_run.begin_run("v1", {"num_threads": 4})
    yield with_run
    with_run.close()


def ask(journal, path="a.txt", what="a", **how):
    file = journal.file(path)
    attempt = claim(journal, call(file.id, what), body=BODY, **how)
    journal.answered(
        attempt,
        call(file.id, what),
        OK,
        b'{"a": "Four"}',
        None,
        service_s=1.5,
        finish_reason="stop",
    )
    journal.flush()
    return file.id, attempt


def test_a_call_is_kept_with_its_request_its_wait_and_its_end(state, journal):
    ask(journal, waited_s=2.5, wait_reason="cooling")
    with JournalReader(state) as reader:
        ((path, attempt),) = reader.calls()
        assert json.loads(reader.last_run().settings_json) == {"num_threads": 4}
    assert (path, attempt.request.body()) == ("a.txt", BODY)
    assert (attempt.waited_s, attempt.wait_reason) == (2.5, "cooling")
    assert (attempt.ending.service_s, attempt.ending.finish_reason) == (1.5, "stop")
    assert len(attempt.request.stored) < len(BODY) / 4


@pytest.mark.parametrize(("keeps", "size"), [(False, 10), (True, 1_000_001)])
def test_no_request_is_kept_that_is_not_to_be_or_is_too_long(state, journal, keeps, size):
    journal.keeps_requests = keeps
    claim(journal, call(journal.file("a.txt").id), body=b"x" * size)
    journal.flush()
    with JournalReader(state) as reader:
        assert reader.calls()[0][1].request is None
        assert reader.call(1)[1].request is None


def test_a_request_is_kept_once_and_found_for_all_attempts_of_its_call(state, journal):
    file_id, _ = ask(journal)
    again = claim(journal, call(file_id, "a", k=1))
    journal.flush()
    with JournalReader(state) as reader:
        assert [attempt.request is None for _, attempt in reader.calls()] == [False, True]
        assert reader.call(again)[1].request.body() == BODY


def test_prune_takes_the_requests_of_finished_files_away(state, journal):
    for path in ("a.txt", "b.txt"):
        file_id, _ = ask(journal, path)
    journal.done_file(file_id, "v1")
    journal.close()
    report = prune(state)
    assert (report.answers, report.requests) == (1, 1)
    with JournalReader(state) as reader:
        assert [p for p, attempt in reader.calls() if attempt.request] == ["a.txt"]


def test_calls_are_read_page_by_page_from_either_end_and_by_what_they_are(state, journal):
    for n in range(5):
        ask(journal, what=str(n), model="m" if n else "other")
    attempt = claim(journal, call(1, "x"))
    journal.ended(attempt, BUSY, service_s=0.1)
    journal.flush()
    with JournalReader(state) as reader:

        def ids(*only, **how):
            return [attempt.id for _, attempt in reader.calls(*only, **how)]

        assert ids(limit=2) == [1, 2]
        assert ids(after=2, limit=2) == [3, 4]
        assert ids(before=3, limit=2, newest_first=True) == [2, 1]
        assert ids(CallFilter(kind=OutcomeKind.BUSY)) == [6]
        assert ids(CallFilter(model="other", file_id=1)) == [1]
        assert ids(CallFilter(file_id=2)) == []


@pytest.mark.parametrize("text", ["größe", "MONT blanc", "four", "slow down"])
def test_a_text_is_found_in_requests_answers_and_messages(state, journal, text):
    ask(journal)
    answer(journal, call(1, "other"))
    journal.ended(claim(journal, call(1, "limited")), BUSY)
    journal.flush()
    with JournalReader(state) as reader:
        found, rest = reader.calls_with(text, CallFilter(), 2**62)
    assert (len(found), rest) == (1, None)


def test_a_journal_of_the_version_before_opens_and_keeps_what_it_held(state):
    os.makedirs(state)
    path = f"{state}/{FILE}"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        migrate(db, 0, STEPS[:6], created_wall_s=0.0)
        db.execute("INSERT INTO files (id, folder, name, state) VALUES (1, x'', x'61', 'done')")
        db.execute("INSERT INTO attempts VALUES (1, 1, 1, x'00', 0, 0, 'k', 'm', NULL, 5.0)")
        db.execute("INSERT INTO endings VALUES (1, 'ok', 200, '', '', 1, 1, 0, NULL, '', 6.0)")
    Journal.open(state).close()
    with JournalReader(state) as reader:
        ((path, attempt),) = reader.calls()
    assert (path, attempt.waited_s, attempt.wait_reason) == ("a", 0.0, "")
    assert (attempt.ending.service_s, attempt.ending.finish_reason) == (None, "")
    assert attempt.ending.kind is OutcomeKind.OK
