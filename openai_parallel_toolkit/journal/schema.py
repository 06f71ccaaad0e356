"""The journal's tables, their versions, and how a connection is opened.

The schema is the sum of its steps: step n brings version n to n + 1, and a new journal takes all of
them. A step that was released is never edited. Triggers keep the number of files in each state, and
tallies the money, so that nothing has to be counted over millions of rows. All tables have a rowid,
which is what `repair` walks along.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import quote

from ..core.errors import JournalError
from ..core.file_kinds import exists
from ..core.own_files import refuse_link

FILE_NAME = "journal.sqlite3"
#: Tells SQLite's own tools and `file` whose database it is: "OPTJ".
APPLICATION_ID = 0x4F50544A
#: Seconds to wait for another connection, for example a reader that recovers the log.
_BUSY_S = 30.0

_STEP_1 = (
    "CREATE TABLE meta (key TEXT NOT NULL UNIQUE, value BLOB NOT NULL)",
    """CREATE TABLE runs (
        id INTEGER PRIMARY KEY, started_wall_s REAL NOT NULL, pid INTEGER NOT NULL,
        host TEXT NOT NULL, hooks_version TEXT NOT NULL,
        ended_wall_s REAL, how TEXT NOT NULL DEFAULT '', summary TEXT NOT NULL DEFAULT '{}')""",
    """CREATE TABLE files (
        id INTEGER PRIMARY KEY, folder BLOB NOT NULL, name BLOB NOT NULL,
        state TEXT, failed_runs INTEGER NOT NULL DEFAULT 0, failed_run_id INTEGER,
        is_suspect INTEGER NOT NULL DEFAULT 0, hooks_version TEXT, input_signature TEXT,
        failure_kind TEXT, failure_message TEXT, failure_trace TEXT, changed_wall_s REAL)""",
    "CREATE UNIQUE INDEX files_by_path ON files (folder, name)",
    "CREATE INDEX files_not_done ON files (state) WHERE state <> 'done'",
    "CREATE INDEX files_done ON files (hooks_version) WHERE state = 'done'",
    "CREATE TABLE standings (state TEXT NOT NULL UNIQUE, files INTEGER NOT NULL)",
    """CREATE TRIGGER files_added AFTER INSERT ON files WHEN NEW.state IS NOT NULL BEGIN
        INSERT INTO standings VALUES (NEW.state, 1)
            ON CONFLICT (state) DO UPDATE SET files = files + 1; END""",
    """CREATE TRIGGER files_moved AFTER UPDATE OF state ON files
        WHEN OLD.state IS NOT NEW.state BEGIN
        UPDATE standings SET files = files - 1 WHERE state = OLD.state;
        INSERT INTO standings VALUES (NEW.state, 1)
            ON CONFLICT (state) DO UPDATE SET files = files + 1; END""",
    """CREATE TABLE outputs (
        file_id INTEGER NOT NULL, staged BLOB NOT NULL, final BLOB NOT NULL UNIQUE,
        size_bytes INTEGER NOT NULL, sha256 TEXT NOT NULL, is_current INTEGER NOT NULL)""",
    "CREATE INDEX outputs_by_file ON outputs (file_id)",
    """CREATE TABLE attempts (
        id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL, file_id INTEGER NOT NULL,
        hash BLOB NOT NULL, k INTEGER NOT NULL, try INTEGER NOT NULL, key_name TEXT NOT NULL,
        model TEXT NOT NULL, max_cost_usd TEXT, started_wall_s REAL NOT NULL)""",
    "CREATE INDEX attempts_by_file ON attempts (file_id)",
    """CREATE TABLE endings (
        attempt_id INTEGER PRIMARY KEY, kind TEXT NOT NULL, status INTEGER, code TEXT NOT NULL,
        message TEXT NOT NULL, prompt_tokens INTEGER, completion_tokens INTEGER,
        cached_tokens INTEGER, cost_usd TEXT, request_id TEXT NOT NULL,
        ended_wall_s REAL NOT NULL)""",
    """CREATE TABLE answers (
        attempt_id INTEGER PRIMARY KEY, file_id INTEGER NOT NULL, hash BLOB NOT NULL,
        k INTEGER NOT NULL, try INTEGER NOT NULL, encoding INTEGER NOT NULL, crc INTEGER NOT NULL,
        body BLOB NOT NULL)""",
    "CREATE UNIQUE INDEX answers_by_call ON answers (file_id, hash, k, try)",
    """CREATE TABLE tallies (
        run_id INTEGER NOT NULL, key_name TEXT NOT NULL, model TEXT NOT NULL,
        sent INTEGER NOT NULL, answered INTEGER NOT NULL, unknown INTEGER NOT NULL,
        unanswered INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
        cost_usd TEXT NOT NULL, doubt_usd TEXT NOT NULL, unpriced INTEGER NOT NULL,
        UNIQUE (run_id, key_name, model))""",
    """CREATE TABLE dropped_keys (
        fingerprint TEXT NOT NULL UNIQUE, name TEXT NOT NULL, reason TEXT NOT NULL,
        wall_s REAL NOT NULL)""",
)

#: For batch mode. A line is a call that waits for its answer: queued while it is in no batch,
#: refused once it has a failure, and gone once it is answered. It is asked for if a file of the
#: present run waits for it; else it is a leftover in a batch of an earlier one.
_STEP_2 = (
    """CREATE TABLE lines (
        id INTEGER PRIMARY KEY, file_id INTEGER NOT NULL, hash BLOB NOT NULL, k INTEGER NOT NULL,
        try INTEGER NOT NULL, path TEXT NOT NULL, model TEXT NOT NULL, tokens INTEGER NOT NULL,
        reply_tokens INTEGER NOT NULL, max_cost_usd TEXT, size_bytes INTEGER NOT NULL,
        queued_wall_s REAL NOT NULL, sends INTEGER NOT NULL, batch_id INTEGER,
        attempt_id INTEGER UNIQUE, failure TEXT, is_asked INTEGER NOT NULL,
        encoding INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL)""",
    "CREATE UNIQUE INDEX lines_by_call ON lines (file_id, hash, k, try)",
    "CREATE INDEX lines_by_batch ON lines (batch_id, attempt_id)",
    """CREATE INDEX lines_queued ON lines (path, model, size_bytes, tokens, queued_wall_s)
        WHERE batch_id IS NULL AND failure IS NULL""",
    """CREATE TABLE batches (
        id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL, key_name TEXT NOT NULL,
        fingerprint TEXT NOT NULL, path TEXT NOT NULL, model TEXT NOT NULL,
        token TEXT NOT NULL UNIQUE, lines INTEGER NOT NULL, tokens INTEGER NOT NULL,
        stage TEXT NOT NULL, input_file_id TEXT, remote_id TEXT, formed_wall_s REAL NOT NULL)""",
    """CREATE TABLE rounds (
        file_id INTEGER PRIMARY KEY, rounds INTEGER NOT NULL, asked BLOB NOT NULL,
        is_suspended INTEGER NOT NULL)""",
    "CREATE INDEX rounds_suspended ON rounds (file_id) WHERE is_suspended",
)

#: For folders of batch files: a job is one input on its way, and its batches are its rounds. What
#: the provider said of a batch is JSON, and so is what is known of a job.
_STEP_3 = (
    "ALTER TABLE lines ADD COLUMN inputs INTEGER NOT NULL DEFAULT 1",
    "ALTER TABLE batches ADD COLUMN job_id INTEGER",
    "ALTER TABLE batches ADD COLUMN told TEXT NOT NULL DEFAULT '{}'",
    "DROP INDEX lines_queued",
    """CREATE INDEX lines_queued ON lines (path, model, size_bytes, tokens, queued_wall_s, inputs)
        WHERE batch_id IS NULL AND failure IS NULL""",
    "CREATE INDEX batches_by_job ON batches (job_id) WHERE job_id IS NOT NULL",
    "CREATE TABLE jobs (id INTEGER PRIMARY KEY, facts TEXT NOT NULL)",
)

#: What the hooks of each file added to files that all of them share.
_STEP_4 = (
    """CREATE TABLE appended (
        file_id INTEGER NOT NULL, name BLOB NOT NULL, lines BLOB NOT NULL,
        UNIQUE (name, file_id))""",
    "CREATE INDEX appended_by_file ON appended (file_id)",
)

#: What a user's own client gets back with an answer: headers, one a line.
_STEP_5 = ("ALTER TABLE answers ADD COLUMN headers TEXT NOT NULL DEFAULT ''",)

#: Which outputs hold nothing but white space.
_STEP_6 = (
    "ALTER TABLE outputs ADD COLUMN is_blank INTEGER NOT NULL DEFAULT 0",
    "UPDATE outputs SET is_blank = 1 WHERE size_bytes = 0 AND sha256 <> ''",
)

#: What was asked, by the first attempt of its call; why and how long an attempt waited for a key,
#: how long it was served and how the answer ended; what a run was given.
_STEP_7 = (
    """CREATE TABLE requests (
        attempt_id INTEGER PRIMARY KEY, encoding INTEGER NOT NULL, crc INTEGER NOT NULL,
        body BLOB NOT NULL)""",
    "ALTER TABLE attempts ADD COLUMN waited_s REAL NOT NULL DEFAULT 0",
    "ALTER TABLE attempts ADD COLUMN wait_reason TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE endings ADD COLUMN service_s REAL",
    "ALTER TABLE endings ADD COLUMN finish_reason TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE runs ADD COLUMN settings TEXT NOT NULL DEFAULT '{}'",
)

Steps = Sequence[Sequence[str]]
STEPS: Steps = (_STEP_1, _STEP_2, _STEP_3, _STEP_4, _STEP_5, _STEP_6, _STEP_7)
VERSION = len(STEPS)


def existing(state_folder: str) -> str:
    """Return the path of the journal in a folder."""
    path = os.path.join(state_folder, FILE_NAME)
    if not exists(path):
        raise JournalError(
            f"There is no journal in {state_folder}; no run has begun there.", path=path
        )
    return path


def connect(path: str, *, mode: str = "rw") -> sqlite3.Connection:
    """Open an existing database file; `mode` is SQLite's "rw" or "ro".

    Transactions are begun by hand, and threads take turns under the caller's lock.
    """
    for own in (path, f"{path}-wal", f"{path}-shm"):
        refuse_link(own)
    db = sqlite3.connect(
        f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode={mode}",
        uri=True,
        timeout=_BUSY_S,
        isolation_level=None,
        check_same_thread=False,
    )
    # Damaged text raises UnicodeDecodeError then, not the error that a full disk raises too.
    db.text_factory = bytes.decode
    return db


def prepare(db: sqlite3.Connection, path: str, *, created_wall_s: float) -> None:
    """Make a writing connection ready: log, syncing, tables of this version."""
    version = checked_version(db, path)
    if version == 0:
        # Freed pages can be given back later; this can only be chosen before the first table.
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    if version < VERSION:
        migrate(db, version, STEPS, created_wall_s=created_wall_s)


def checked_version(db: sqlite3.Connection, path: str) -> int:
    """Return the version of the schema; 0: a new file."""
    (owner,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if owner != APPLICATION_ID and (owner or version or tables):
        raise JournalError(f"{path} belongs to another program; choose another state folder.")
    if version > VERSION:
        raise JournalError(
            f"{path} was written by a newer openai_parallel_toolkit (journal version {version}, "
            f"this one knows {VERSION}); upgrade the package.",
            path=path,
            version=version,
        )
    return int(version)


def migrate(db: sqlite3.Connection, version: int, steps: Steps, *, created_wall_s: float) -> None:
    """Take the steps from `version` on, all or none of them."""
    with transaction(db):
        for statement in (statement for step in steps[version:] for statement in step):
            db.execute(statement)
        if version == 0:
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            facts = (("salt", os.urandom(16)), ("created_wall_s", created_wall_s))
            db.executemany("INSERT INTO meta VALUES (?, ?)", facts)
        db.execute(f"PRAGMA user_version = {len(steps)}")


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit all that the block writes, or nothing of it."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
