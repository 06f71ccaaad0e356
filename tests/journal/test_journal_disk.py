"""What happens when the disk refuses."""

import errno
import os
import sqlite3

import pytest
from journal_fixture import OK, Told, answer, bodies, call, claim
from small_disk import small_disk

from openai_parallel_toolkit.core.errors import StorageError
from openai_parallel_toolkit.journal import Journal, JournalReader
from openai_parallel_toolkit.journal.schema import connect as real_connect


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
    assert not os.path.exists(os.path.join(folder, "reserve"))
    journal.close()
    disk.enlarge()
    again = open_journal(folder)
    assert len(bodies(again, file.id)) == 100
    assert os.path.getsize(os.path.join(folder, "reserve")) == 4 * 1024 * 1024


def test_on_a_disk_that_stays_full_nothing_is_claimed_that_is_not_there(disk, open_journal):
    folder = str(disk.path / "state")
    journal = open_journal(folder)
    journal.begin_run("v1")
    file = journal.file("a.txt")
    attempts = [claim(journal, call(file.id, n)) for n in range(40)]
    journal.flush()
    disk.fill()
    kept = []
    for n, attempt in enumerate(attempts):
        told = Told()
        journal.answered(attempt, call(file.id, n), OK, os.urandom(400_000), None, told)
        error = told.wait()
        assert error is None or error.errno == errno.ENOSPC
        kept += [call(file.id, n).hash] * (error is None)
    assert 0 < len(kept) < 40
    with pytest.raises(StorageError) as raised:
        journal.close()
    assert raised.value is journal.trouble  # and not a later fault, of which nobody has heard
    disk.enlarge()
    again = open_journal(folder)
    assert sorted(hash for hash, _, _ in bodies(again, file.id)) == sorted(kept)


def test_a_disk_without_room_for_the_reserve_says_so_and_works(disk, open_journal, caplog):
    disk.fill(leave_bytes=3 * 1024 * 1024)
    folder = str(disk.path / "state")
    journal = open_journal(folder)
    journal.begin_run("v1")
    answer(journal, call(journal.file("a.txt").id))
    journal.flush()
    assert "no room" in caplog.text
    assert not os.path.exists(os.path.join(folder, "reserve"))


def test_a_state_folder_that_cannot_be_made_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError) as raised:
        Journal.open(str(tmp_path / "file" / "state"))
    assert raised.value.errno == errno.ENOTDIR
