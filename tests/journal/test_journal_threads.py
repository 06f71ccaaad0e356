"""Many threads, many rows."""

import sqlite3
import threading
import time
from decimal import Decimal

from journal_fixture import FILE, OK, answer, bodies, call, claim

from openai_parallel_toolkit.journal import Journal, JournalReader


def test_all_that_many_threads_write_is_durable_when_they_are_told(journal, open_journal, request):
    threads, calls = 20, 500 if request.config.getoption("--full") else 100
    told, errors = [], []

    def work(number):
        file = journal.file(f"{number}.txt")
        answered = threading.Semaphore(0)

        def done(error):
            (errors if error else told).append(number)
            answered.release()

        for n in range(calls):
            claimed = threading.Event()
            attempt = claim(journal, call(file.id, n), done=lambda _, c=claimed: c.set())
            assert claimed.wait(30)
            journal.answered(attempt, call(file.id, n), OK, b"x" * 300, Decimal("0.001"), done)
        for _ in range(calls):
            assert answered.acquire(timeout=30)

    workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    took = time.perf_counter() - began
    print(f"{2 * threads * calls / took:,.0f} durable operations/s")
    assert not errors
    assert len(told) == threads * calls
    journal.close()
    again = open_journal()
    for number in range(threads):
        assert len(bodies(again, again.file(f"{number}.txt").id)) == calls
    assert again.totals().all_runs.cost_usd == threads * calls * Decimal("0.001")


def test_a_reader_sees_whole_commits_while_a_run_writes(journal, state):
    stop = threading.Event()

    def write():
        n = 0
        while not stop.is_set():
            file = journal.file(f"{n}.txt")
            answer(journal, call(file.id))
            journal.done_file(file.id, "v1", None)
            n += 1
            if n % 50 == 0:
                journal.flush()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with JournalReader(state) as reader:
            for _ in range(30):
                figures = reader.status().totals.all_runs
                assert figures.answered + figures.unanswered == figures.sent
    finally:
        stop.set()
        writer.join()


def test_a_big_journal_opens_and_tells_its_status_at_once(state):
    journal = Journal.open(state)
    journal.begin_run("v1")
    journal.close()
    rows = 200_000
    with sqlite3.connect(f"{state}/{FILE}") as db:
        db.executemany(
            "INSERT INTO files (id, folder, name, state, hooks_version) "
            "VALUES (?, x'61', CAST(? AS BLOB), 'done', 'v1')",
            ((n, str(n)) for n in range(1, rows)),
        )
        db.executemany(
            "INSERT INTO attempts VALUES (?, 1, ?, x'00', 0, 0, 'key-1', 'm', NULL, 0.0, 0.0, '')",
            ((n, n) for n in range(1, rows)),
        )
    db.close()
    took_s = []
    for _ in range(5):
        began = time.process_time()
        journal = Journal.open(state)
        journal.begin_run("v1")
        assert journal.file("new").id == rows
        assert list(journal.intents()) == []
        assert list(journal.made_by_other_hooks("v1")) == []
        with JournalReader(state) as reader:
            reader.status()
        took_s.append(time.process_time() - began)
        journal.close()
        with sqlite3.connect(f"{state}/{FILE}") as db:
            db.execute("DELETE FROM files WHERE id = ?", (rows,))
        db.close()
    print(f"opened in {min(took_s) * 1000:.1f} ms of the processor")
    assert min(took_s) < 0.05
