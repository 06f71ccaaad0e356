"""What happens when the disk refuses."""

import errno
import os
import resource
import sqlite3
from contextlib import suppress
from decimal import Decimal

import pytest
from journal_fixture import OK, UNKNOWN, UNSENT, Told, bodies, call, claim, copy_of
from small_disk import small_disk

from openai_parallel_toolkit.core.errors import StorageError
from openai_parallel_toolkit.journal import Journal, JournalReader
from openai_parallel_toolkit.journal.disk import explain
from openai_parallel_toolkit.journal.schema import connect as real_connect

MEGABYTE = 1024 * 1024


class Disk:
    """Gives connections whose commits can be told to fail."""

    def __init__(self):
        self.failures = 0

    def connect(self, path):
        return _Connection(real_connect(path), self)


class _Connection:
    def __init__(self, db, disk):
        self._db, self._disk = db, disk

    def __getattr__(self, name):
        return getattr(self._db, name)

    def execute(self, statement, values=()):
        if statement == "COMMIT" and self._disk.failures:
            self._disk.failures -= 1
            raise sqlite3.OperationalError("disk I/O error")
        return self._db.execute(statement, values)


def test_a_refused_commit_is_told_to_all_who_wait_and_leaves_nothing(open_journal, state):
    disk = Disk()
    journal = open_journal(connect=disk.connect)
    journal.begin_run("v1")
    file = journal.file("a.txt")
    journal.flush()
    disk.failures = 1
    told = Told()
    claim(journal, call(file.id), done=told)
    error = told.wait()
    assert isinstance(error, StorageError)
    assert (error.errno, error.path) == (errno.EIO, os.path.join(state, "journal.sqlite3"))
    assert isinstance(error.__cause__, sqlite3.OperationalError)
    assert journal.trouble is error
    assert os.path.exists(os.path.join(state, "reserve"))
    with JournalReader(state) as reader:
        assert reader.file("a.txt").attempts == ()
        assert reader.status().totals.all_runs.sent == 0


def test_what_comes_after_a_refused_commit_is_written_if_the_disk_lets_it(open_journal):
    disk = Disk()
    journal = open_journal(connect=disk.connect)
    journal.begin_run("v1")
    file = journal.file("a.txt")
    attempt = claim(journal, call(file.id))
    journal.flush()
    disk.failures = 1
    journal.opened(file.id)
    with pytest.raises(StorageError):
        journal.flush()
    told = Told()
    journal.answered(attempt, call(file.id), OK, b"in flight", None, told)
    assert told.wait() is None
    assert list(bodies(journal, file.id).values()) == [b"in flight"]
    assert journal.totals().all_runs.answered == 1
    assert journal.trouble is not None
    with pytest.raises(StorageError):
        journal.flush()


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "small", size_mb=8) as mounted:
        yield mounted


def test_on_a_full_disk_the_reserve_takes_the_answers_in_flight(disk, open_journal):
    folder = str(disk.path / "state")
    journal = open_journal(folder)
    journal.begin_run("v1")
    file = journal.file("a.txt")
    attempts = [claim(journal, call(file.id, n)) for n in range(100)]
    journal.flush()
    disk.fill()
    told = [Told() for _ in attempts]
    for n, attempt in enumerate(attempts):
        journal.answered(attempt, call(file.id, n), OK, os.urandom(5000), None, told[n])
    assert [one.wait() for one in told] == [None] * 100
    assert journal.trouble.errno == errno.ENOSPC
    assert "free some space" in str(journal.trouble)
    assert len(bodies(journal, file.id)) == 100
    assert os.path.getsize(os.path.join(folder, "reserve")) == 0
    journal.close()
    assert not os.path.exists(os.path.join(folder, "reserve"))
    disk.enlarge()
    again = open_journal(folder)
    assert len(bodies(again, file.id)) == 100
    assert os.path.getsize(os.path.join(folder, "reserve")) == 4 * 1024 * 1024


def begun(open_journal, folder, count, **how):
    """A journal with attempts in flight: itself, the file's id, and what each claim was told."""
    journal = open_journal(folder)
    journal.begin_run("v1")
    file = journal.file("a.txt")
    told = [Told() for _ in range(count)]
    attempts = [claim(journal, call(file.id, n), done=one, **how) for n, one in enumerate(told)]
    with suppress(StorageError):
        journal.flush()
    return journal, file.id, attempts, told


def test_what_nobody_else_can_take_holds_the_answers_until_there_is_room(disk, open_journal):
    folder = str(disk.path / "state")
    journal, file_id, attempts, _ = begun(open_journal, folder, 41)
    disk.fill_greedily()
    told = [Told() for _ in range(40)]
    answers = [os.urandom(size) for size in range(1_000, 40_000, 1_000)]
    for n, body in enumerate(answers):
        kept = {} if n else {"headers": {"content-type": "text/plain"}}
        journal.answered(attempts[n], call(file_id, n), OK, body, Decimal(n), told[n], **kept)
    journal.ended(attempts[39], UNKNOWN, None, told[39])
    assert [one.wait() for one in told] == [None] * 40
    assert bodies(journal, file_id) == {}
    as_killed = copy_of(folder, disk.path.parent / "as-killed", also=["reserve"])
    journal.close()
    refusing = Disk()
    refusing.failures = 1
    with pytest.raises(StorageError):
        Journal.open(as_killed, connect=refusing.connect)
    for place in (folder, as_killed):
        again = open_journal(place)
        found = again.answers(file_id)
        assert [found[call(file_id, n).hash, 0, 0].body() for n in range(39)] == answers
        assert found[call(file_id, 0).hash, 0, 0].headers == {"content-type": "text/plain"}
        figures = again.totals().all_runs
        assert (figures.answered, figures.unknown, figures.unanswered) == (39, 1, 1)
        assert figures.cost_usd == sum(range(39))
        again.close()
        assert not os.path.exists(os.path.join(place, "reserve"))


@pytest.mark.parametrize("stops", [True, False])
def test_once_the_disk_has_refused_nothing_more_is_claimed(disk, open_journal, stops):
    folder = str(disk.path / "state")
    journal, file_id, attempts, _ = begun(open_journal, folder, 5)
    heard = Told()
    if stops:
        journal.on_trouble(heard)
    disk.fill()
    told, late = Told(), []
    journal.answered(attempts[0], call(file_id, 0), OK, os.urandom(500_000), None, told)
    assert told.wait() is None
    assert not stops or heard.wait() is journal.trouble
    for n in range(20):
        late.append(Told())
        claim(journal, call(file_id, f"late {n}"), done=late[-1])
    assert {one.wait() for one in late} == {journal.trouble}
    for n, attempt in enumerate(attempts[1:], 1):
        told = Told()
        journal.answered(attempt, call(file_id, n), OK, b"in flight", None, told)
        assert told.wait() is None
    assert len(bodies(journal, file_id)) == 5
    disk.enlarge()
    told = Told()
    claim(journal, call(file_id, "there is room"), done=told)
    assert told.wait() is (journal.trouble if stops else None)
    assert (journal.trouble is not None) == stops


def test_claims_wait_until_there_is_room_for_what_they_may_bring(disk, open_journal, caplog):
    folder = str(disk.path / "state")
    journal, file_id, attempts, told = begun(open_journal, folder, 9, reply_bytes=1_000_000)
    admitted = [one.is_told for one in told]
    assert admitted == sorted(admitted, reverse=True)  # in the order in which they came
    assert 1 < sum(admitted) < 9
    assert "no more than" in caplog.text
    for n, attempt in enumerate(attempts):
        assert told[n].wait() is None
        journal.answered(attempt, call(file_id, n), OK, b"small", None)
    journal.flush()
    assert journal.trouble is None
    assert journal.totals().all_runs.answered == 9


def test_a_claim_that_waits_and_is_given_up_is_an_attempt_that_was_not_sent(disk, open_journal):
    folder = str(disk.path / "state")
    journal, _, attempts, told = begun(open_journal, folder, 9, reply_bytes=1_000_000)
    journal.ended(attempts[-1], UNSENT)
    assert told[-1].wait() is None
    assert not told[-2].is_told
    with JournalReader(folder) as reader:
        endings = [attempt.ending for attempt in reader.file("a.txt").attempts]
    assert [ending.kind for ending in endings if ending] == [UNSENT.kind]
    assert len(endings) < 9


def test_an_answer_that_there_can_be_no_room_for_is_not_asked_for(disk, open_journal):
    journal, _, _, [told] = begun(open_journal, str(disk.path / "state"), 1, reply_bytes=9_000_000)
    assert isinstance(told.wait(), StorageError)
    assert told.error.errno == errno.ENOSPC
    assert "Nothing is sent" in str(told.error)
    assert journal.trouble is told.error


def test_the_room_grows_with_what_is_on_the_way_and_with_the_answers_that_came(state, open_journal):
    reserve = os.path.join(state, "reserve")
    journal, file_id, attempts, _ = begun(open_journal, state, 100)
    assert os.path.getsize(reserve) == 4 * MEGABYTE
    journal.answered(attempts[0], call(file_id), OK, bytes(100_000), None)
    journal.flush()
    assert os.path.getsize(reserve) == 20 * MEGABYTE  # for 99 that are twice as large at most
    journal.close()
    assert not os.path.exists(reserve)


def test_a_disk_with_little_room_has_a_smaller_reserve(disk, open_journal):
    disk.fill(leave_bytes=3 * MEGABYTE)
    journal, file_id, attempts, told = begun(open_journal, str(disk.path / "state"), 10)
    assert [one.wait() for one in told] == [None] * 10
    for n, attempt in enumerate(attempts):
        journal.answered(attempt, call(file_id, n), OK, b"{}", None)
    journal.flush()
    assert 0 < os.path.getsize(disk.path / "state" / "reserve") < 2 * MEGABYTE


def test_a_file_that_may_not_grow_is_a_full_disk(state, open_journal):
    journal, file_id, attempts, _ = begun(open_journal, state, 120)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5 * MEGABYTE, hard))
    try:
        told = [Told() for _ in attempts]
        for n, attempt in enumerate(attempts):
            journal.answered(attempt, call(file_id, n), OK, os.urandom(80_000), None, told[n])
            if n % 10 == 9:
                assert [one.wait() for one in told[n - 9 : n + 1]] == [None] * 10
        assert journal.trouble.errno == errno.EFBIG
        assert "ulimit -f" in str(journal.trouble)
        with suppress(StorageError):
            journal.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(bodies(open_journal(state), file_id)) == 120


def test_a_state_folder_that_cannot_be_made_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError) as raised:
        Journal.open(str(tmp_path / "file" / "state"))
    assert raised.value.errno == errno.ENOTDIR


@pytest.mark.parametrize(("code", "likely"), [(14, "EACCES"), (8, "EROFS"), (3, "EACCES")])
def test_what_the_disk_itself_tells_comes_before_what_sqlite_takes_it_for(tmp_path, code, likely):
    failure = sqlite3.OperationalError("unable to open database file")
    failure.sqlite_errorcode = code
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        told = explain(failure, str(tmp_path / "journal.sqlite3"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert told.errno == errno.EMFILE
    assert explain(failure, str(tmp_path / "journal.sqlite3")).errno == getattr(errno, likely)
