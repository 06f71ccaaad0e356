"""What a killed process, a torn log and a damaged file leave behind."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest
from journal_fixture import FILE, NOTE, answer, bodies, call, claim, copy_of, hash_of, output

from openai_parallel_toolkit.core.errors import JournalError
from openai_parallel_toolkit.core.records import FileState
from openai_parallel_toolkit.journal import Journal, JournalReader, repair, schema

_CHILD = """
import sys
sys.path.insert(0, sys.argv[2])
from journal_fixture import Journal, OK, call, claim
journal = Journal.open(sys.argv[1])
journal.begin_run("v1")
file = journal.file("a.txt")
print(journal._first_free("SELECT max(attempt_id) FROM answers") - 1, flush=True)
for n in range(100000):
    attempt = claim(journal, call(file.id, n))
    done = lambda error, n=n: sys.stdout.write(f"{n}\\n") and sys.stdout.flush()
    journal.answered(attempt, call(file.id, n), OK, b"body %d" % n * 60, None, done)
"""


@pytest.mark.crash
@pytest.mark.parametrize("kill", range(6))
def test_what_was_acknowledged_survives_a_kill_at_any_moment(tmp_path, kill, request):
    here = os.path.dirname(__file__)
    state = str(tmp_path / "state")
    for _ in range(30 if request.config.getoption("--full") else 2):
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, state, here], stdout=subprocess.PIPE, text=True
        )
        with child:
            child.stdout.readline()
            time.sleep(random.Random(kill).uniform(0.0, 0.15))
            child.kill()
            acknowledged = [int(line) for line in child.stdout if line.endswith("\n")]
        with JournalReader(state) as reader:  # a log without its index is there now
            reader.status()
        journal = Journal.open(state)
        assert journal.last_run_died()
        file = journal.file("a.txt")
        found = {hash: body for (hash, _, _), body in bodies(journal, file.id).items()}
        for n in acknowledged:
            assert found[call(0, n).hash] == b"body %d" % n * 60
        journal.close()


@pytest.fixture
def torn(journal, state, tmp_path):
    """A journal as a kill leaves it: ten answers, each in a commit of its own, all in the log."""
    file = journal.file("a.txt")
    for n in range(10):
        answer(journal, call(file.id, n), b"body %d" % n)
        journal.flush()
    return copy_of(state, tmp_path / "torn")


def _prefix_length(folder):
    """Return how many answers are there, having made sure that they are the first ones."""
    journal = Journal.open(folder)
    try:
        file = journal.file("a.txt")
        found = bodies(journal, file.id)
        wanted = {(call(0, n).hash, 0, 0): b"body %d" % n for n in range(len(found))}
        assert found == wanted
        assert journal.totals().all_runs.answered == len(found)
        return len(found)
    finally:
        journal.close()


def test_a_log_cut_at_any_byte_replays_to_a_prefix(torn, tmp_path):
    size = os.path.getsize(f"{torn}/{FILE}-wal")
    lengths = []
    # Below some frames there is no schema yet; then a new journal is begun.
    for number, cut in enumerate([*range(0, size, size // 60), size]):
        folder = copy_of(torn, tmp_path / str(number))
        os.truncate(f"{folder}/{FILE}-wal", cut)
        lengths.append(_prefix_length(folder))
        shutil.rmtree(folder)
    assert lengths == sorted(lengths)
    assert lengths[-1] == 10
    assert len(set(lengths)) > 5


@pytest.mark.parametrize("garbage", [b"\x00" * 64, b"\xff" * 7, b"garbage!"])
def test_a_garbled_log_replays_to_a_prefix(torn, tmp_path, garbage):
    size = os.path.getsize(f"{torn}/{FILE}-wal")
    lengths = set()
    for number, at in enumerate(range(32, size, size // 40)):
        folder = copy_of(torn, tmp_path / str(number))
        with open(f"{folder}/{FILE}-wal", "r+b") as log:
            log.seek(at)
            log.write(garbage)
        lengths.add(_prefix_length(folder))
        shutil.rmtree(folder)
    assert len(lengths) > 2


def _filled(state, files=400):
    journal = Journal.open(state)
    journal.begin_run("v1")
    for n in range(files):
        file = journal.file(f"d/{n}.txt")
        answer(journal, call(file.id, n), b"body %d" % n * 100, cost="0.001", most="0.002")
        journal.intent(file.id, [output(f"{n}.json")])
        journal.done_file(file.id, "v1", None)
        journal.flush()  # so that rows lie where they lay the last time
    claim(journal, call(1, "open"), most="0.5")
    journal.failed(journal.file("bad").id, NOTE, 3)
    journal.key_dropped("aa", "key-1", "dead")
    salt = journal.salt
    journal.close()
    return salt


def test_a_file_that_is_no_database_is_refused_with_its_name_and_the_way_out(state):
    os.makedirs(state)
    with open(f"{state}/{FILE}", "w") as file:
        file.write("this is not a database at all" * 100)
    for door in (Journal.open, JournalReader):
        with pytest.raises(JournalError, match="repair") as raised:
            door(state)
        assert raised.value.path == f"{state}/{FILE}"
    report = repair(state)
    assert report.kept_as is not None
    Journal.open(state).close()


def test_a_sound_journal_is_left_as_it_is(state):
    _filled(state, 5)
    before = sorted(os.listdir(state))
    assert repair(state).problems == ()
    assert sorted(os.listdir(state)) == before


def test_repair_saves_what_can_be_read(state):
    salt = _filled(state)
    _overwrite_pages(state, share=0.1)
    report = repair(state)
    assert report.problems
    assert os.path.exists(report.kept_as)
    assert report.attempts > 200
    assert report.answers > 150
    journal = Journal.open(state)
    assert repair(state).problems == ()
    _check_answers(journal, 400)
    figures = journal.totals().all_runs
    assert (figures.sent, figures.answered) <= (401, 400)
    assert figures.cost_usd > 0
    assert len(salt) == len(journal.salt)
    journal.close()


def _check_answers(journal, files):
    """What answers a request is what was bought for it.

    A bit of the file's number may have flipped, and then another file has an answer to what it
    does not ask.
    """
    for n in range(files):
        file = journal.known(f"d/{n}.txt")
        if file is not None:
            for (hash, _, _), body in bodies(journal, file.id).items():
                assert hash != hash_of(n) or body == b"body %d" % n * 100


def _overwrite_pages(state, share):
    """Overwrite some pages, but not those of the schema."""
    choose = random.Random(7)
    with open(f"{state}/{FILE}", "r+b") as file:
        for page in range(40, os.path.getsize(file.name) // 4096):
            if choose.random() < share:
                file.seek(page * 4096)
                file.write(b"\xa5" * 4096)


def test_damage_that_is_met_while_reading_is_a_journal_error(state):
    _filled(state)
    _overwrite_pages(state, share=1.0)

    def read_all():
        with closing(Journal.open(state)) as journal:
            for n in range(400):
                bodies(journal, journal.file(f"d/{n}.txt").id)

    with pytest.raises(JournalError, match="repair"):
        read_all()


@pytest.mark.parametrize("seed", range(25))
def test_flipped_bits_are_repaired_or_named_and_never_pass_as_answers(state, seed):
    _filled(state, 60)
    choose = random.Random(seed)
    with open(f"{state}/{FILE}", "r+b") as file:
        content = bytearray(file.read())
        for _ in range(choose.choice([1, 20, 300])):
            content[choose.randrange(100, len(content))] ^= 1 << choose.randrange(8)
        file.seek(0)
        file.write(content)
    report = repair(state)
    with closing(Journal.open(state)) as journal:
        _check_answers(journal, 60)
        journal.totals()
    with JournalReader(state) as reader:
        reader.status()
        list(reader.failures())
    assert (report.kept_as is None) == (report.problems == ())


def test_an_answer_whose_bytes_changed_is_refused_and_dropped_by_repair(state):
    _filled(state, 3)
    with sqlite3.connect(f"{state}/{FILE}") as db:
        db.execute("UPDATE answers SET body = x'00' WHERE attempt_id = 2")
    db.close()
    journal = Journal.open(state)
    with pytest.raises(JournalError):
        bodies(journal, 2)
    journal.close()
    report = repair(state)
    assert (report.files, report.attempts, report.answers) == (4, 4, 2)
    journal = Journal.open(state)
    assert journal.file("d/0.txt").state is FileState.DONE
    assert journal.file("bad").failed_runs == 1
    assert journal.dropped_keys() == {"aa": "dead"}
    assert journal.owner_of_output("0.json") == 1
    figures = journal.totals().all_runs
    assert (figures.sent, figures.answered, figures.unanswered) == (4, 3, 1)
    assert (str(figures.cost_usd), str(figures.doubt_usd)) == ("0.003", "0.500")
    journal.close()


def _change(state, statement):
    with closing(sqlite3.connect(f"{state}/{FILE}")) as db, db:
        db.execute(statement)


def test_paths_that_were_lost_are_taken_from_their_index_so_that_no_answer_is_lost(state):
    _filled(state, 60)
    with closing(sqlite3.connect(f"{state}/{FILE}")) as db:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'files'"
        (page,) = db.execute(query).fetchone()
    with open(f"{state}/{FILE}", "r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096)
    report = repair(state)
    assert (report.files, report.answers) == (61, 60)
    with closing(Journal.open(state)) as journal:
        assert list(bodies(journal, journal.file("d/7.txt").id).values()) == [b"body 7" * 100]
        assert {file.state for file in journal.files_in("d")} == {FileState.OPEN}


def test_answers_whose_file_is_lost_are_not_given_to_the_next_file(state):
    _filled(state, 3)
    _change(state, "UPDATE answers SET body = x'00' WHERE attempt_id = 1")
    _change(state, "DELETE FROM files WHERE id = 3")
    assert repair(state).answers == 1


def test_a_log_that_a_reader_holds_is_not_played_into_the_repaired_journal(torn):
    _change(torn, "PRAGMA journal_mode = WAL")
    with JournalReader(torn) as reader:
        reader.status()
        _change(torn, "UPDATE answers SET body = x'00' WHERE attempt_id = 1")
        report = repair(torn)
        assert report.answers == 9
        assert not os.path.exists(f"{torn}/{FILE}-wal")
        assert os.path.exists(f"{report.kept_as}-wal")
    assert repair(torn).problems == ()


# Versions


def test_a_newer_journal_is_refused(state):
    Journal.open(state).close()
    with sqlite3.connect(f"{state}/{FILE}") as db:
        db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    db.close()
    for door in (Journal.open, JournalReader, repair):
        with pytest.raises(JournalError, match="newer"):
            door(state)


def test_another_programs_database_is_refused(state):
    os.makedirs(state)
    with sqlite3.connect(f"{state}/{FILE}") as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    with pytest.raises(JournalError, match="another program"):
        Journal.open(state)


def test_a_journal_of_version_1_is_read(state):
    """The stored file is what version 1 wrote; it is never made anew."""
    os.makedirs(state)
    with open(os.path.join(os.path.dirname(__file__), "version_1.sql"), encoding="utf-8") as dump:
        db = sqlite3.connect(f"{state}/{FILE}")
        db.executescript(dump.read())
        db.close()
    journal = Journal.open(state)
    file = journal.file("d/ä.txt")
    assert (file.state, file.finals) == (FileState.DONE, ("d/ä.json",))
    assert sorted(bodies(journal, file.id).values()) == [b"long " * 200, b"short"]
    assert str(journal.totals().all_runs.max_cost_usd) == "0.012"
    assert journal.salt == bytes(range(16))
    journal.close()


def test_a_migration_is_taken_whole_or_not_at_all(state):
    Journal.open(state).close()
    db = schema.connect(f"{state}/{FILE}")
    good = (*schema.STEPS, ("ALTER TABLE runs ADD COLUMN note TEXT",))
    bad = (*good, ("CREATE TABLE later (x)", "this is not SQL"))
    with pytest.raises(sqlite3.OperationalError):
        schema.migrate(db, schema.VERSION, bad, created_wall_s=0.0)
    assert db.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
    schema.migrate(db, schema.VERSION, good, created_wall_s=0.0)
    assert db.execute("PRAGMA user_version").fetchone() == (schema.VERSION + 1,)
    assert db.execute("SELECT note FROM runs").fetchall() == []
    db.close()
