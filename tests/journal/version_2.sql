PRAGMA application_id = 1330664522;
PRAGMA auto_vacuum = 2;
BEGIN TRANSACTION;
CREATE TABLE answers (
        attempt_id INTEGER PRIMARY KEY, file_id INTEGER NOT NULL, hash BLOB NOT NULL,
        k INTEGER NOT NULL, try INTEGER NOT NULL, encoding INTEGER NOT NULL, crc INTEGER NOT NULL,
        body BLOB NOT NULL);
INSERT INTO "answers" VALUES(1,1,X'7692C3AD3540BB803C020B3AEE66CD8887123234EA0C6E7143C0ADD73FF431ED',0,0,0,4242226586,X'7B22616E73776572223A20317D');
CREATE TABLE attempts (
        id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL, file_id INTEGER NOT NULL,
        hash BLOB NOT NULL, k INTEGER NOT NULL, try INTEGER NOT NULL, key_name TEXT NOT NULL,
        model TEXT NOT NULL, max_cost_usd TEXT, started_wall_s REAL NOT NULL);
INSERT INTO "attempts" VALUES(1,1,1,X'7692C3AD3540BB803C020B3AEE66CD8887123234EA0C6E7143C0ADD73FF431ED',0,0,'key-1','m','0.01',1800000000.0);
INSERT INTO "attempts" VALUES(2,1,1,X'3FC4CCFE745870E2C0D99F71F30FF0656C8DEDD41CC1D7D3D376B0DBE685E2F3',0,0,'key-1','m','0.01',1800000000.0);
INSERT INTO "attempts" VALUES(3,1,1,X'8B5B9DB0C13DB24256C829AA364AA90C6D2EBA318B9232A4AB9313B954D3555F',0,0,'key-1','m','0.01',1800000000.0);
CREATE TABLE batches (
        id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL, key_name TEXT NOT NULL,
        fingerprint TEXT NOT NULL, path TEXT NOT NULL, model TEXT NOT NULL,
        token TEXT NOT NULL UNIQUE, lines INTEGER NOT NULL, tokens INTEGER NOT NULL,
        stage TEXT NOT NULL, input_file_id TEXT, remote_id TEXT, formed_wall_s REAL NOT NULL);
INSERT INTO "batches" VALUES(1,1,'key-1','00aa','/chat/completions','m','openai_parallel_toolkit-0123456789abcdef',2,14,'created','file-1','batch-1',1800000000.0);
INSERT INTO "batches" VALUES(2,1,'key-1','00aa','/chat/completions','m','openai_parallel_toolkit-fedcba9876543210',1,7,'closed',NULL,NULL,1800000000.0);
CREATE TABLE dropped_keys (
        fingerprint TEXT NOT NULL UNIQUE, name TEXT NOT NULL, reason TEXT NOT NULL,
        wall_s REAL NOT NULL);
CREATE TABLE endings (
        attempt_id INTEGER PRIMARY KEY, kind TEXT NOT NULL, status INTEGER, code TEXT NOT NULL,
        message TEXT NOT NULL, prompt_tokens INTEGER, completion_tokens INTEGER,
        cached_tokens INTEGER, cost_usd TEXT, request_id TEXT NOT NULL,
        ended_wall_s REAL NOT NULL);
INSERT INTO "endings" VALUES(1,'ok',200,'','',10,5,0,'0.001','',1800000000.0);
INSERT INTO "endings" VALUES(3,'rejected',400,'invalid_value','',NULL,NULL,NULL,NULL,'',1800000000.0);
CREATE TABLE files (
        id INTEGER PRIMARY KEY, folder BLOB NOT NULL, name BLOB NOT NULL,
        state TEXT, failed_runs INTEGER NOT NULL DEFAULT 0, failed_run_id INTEGER,
        is_suspect INTEGER NOT NULL DEFAULT 0, hooks_version TEXT, input_signature TEXT,
        failure_kind TEXT, failure_message TEXT, failure_trace TEXT, changed_wall_s REAL);
INSERT INTO "files" VALUES(1,X'',X'612E747874','open',0,NULL,0,NULL,NULL,NULL,NULL,NULL,1800000000.0);
CREATE TABLE lines (
        id INTEGER PRIMARY KEY, file_id INTEGER NOT NULL, hash BLOB NOT NULL, k INTEGER NOT NULL,
        try INTEGER NOT NULL, path TEXT NOT NULL, model TEXT NOT NULL, tokens INTEGER NOT NULL,
        reply_tokens INTEGER NOT NULL, max_cost_usd TEXT, size_bytes INTEGER NOT NULL,
        queued_wall_s REAL NOT NULL, sends INTEGER NOT NULL, batch_id INTEGER,
        attempt_id INTEGER UNIQUE, failure TEXT, is_asked INTEGER NOT NULL,
        encoding INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL);
INSERT INTO "lines" VALUES(2,1,X'3FC4CCFE745870E2C0D99F71F30FF0656C8DEDD41CC1D7D3D376B0DBE685E2F3',0,0,'/chat/completions','m',7,3,'0.01',13,1800000000.0,1,1,2,NULL,1,0,960662084,X'7B2261736B223A2274776F227D');
INSERT INTO "lines" VALUES(3,1,X'8B5B9DB0C13DB24256C829AA364AA90C6D2EBA318B9232A4AB9313B954D3555F',0,0,'/chat/completions','m',7,3,'0.01',15,1800000000.0,1,NULL,NULL,'{"kind": "rejected", "code": "invalid_value", "message": "no", "status": 400, "attempts": 1}',1,0,799142162,X'7B2261736B223A227468726565227D');
INSERT INTO "lines" VALUES(4,1,X'04EFAF080F5A3E74E1C29D1CA6A48569382CBBCD324E8D59D2B83EF21C039F00',0,0,'/chat/completions','m',7,3,'0.01',14,1800000000.0,0,NULL,NULL,NULL,1,0,4253778444,X'7B2261736B223A22666F7572227D');
CREATE TABLE meta (key TEXT NOT NULL UNIQUE, value BLOB NOT NULL);
INSERT INTO "meta" VALUES('salt',X'000102030405060708090A0B0C0D0E0F');
INSERT INTO "meta" VALUES('created_wall_s',1800000000.0);
CREATE TABLE outputs (
        file_id INTEGER NOT NULL, staged BLOB NOT NULL, final BLOB NOT NULL UNIQUE,
        size_bytes INTEGER NOT NULL, sha256 TEXT NOT NULL, is_current INTEGER NOT NULL);
CREATE TABLE rounds (
        file_id INTEGER PRIMARY KEY, rounds INTEGER NOT NULL, asked BLOB NOT NULL,
        is_suspended INTEGER NOT NULL);
INSERT INTO "rounds" VALUES(1,2,X'6D61726B73',1);
CREATE TABLE runs (
        id INTEGER PRIMARY KEY, started_wall_s REAL NOT NULL, pid INTEGER NOT NULL,
        host TEXT NOT NULL, hooks_version TEXT NOT NULL,
        ended_wall_s REAL, how TEXT NOT NULL DEFAULT '', summary TEXT NOT NULL DEFAULT '{}');
INSERT INTO "runs" VALUES(1,1800000000.0,1,'host','v2',NULL,'','{}');
CREATE TABLE standings (state TEXT NOT NULL UNIQUE, files INTEGER NOT NULL);
INSERT INTO "standings" VALUES('open',1);
CREATE TABLE tallies (
        run_id INTEGER NOT NULL, key_name TEXT NOT NULL, model TEXT NOT NULL,
        sent INTEGER NOT NULL, answered INTEGER NOT NULL, unknown INTEGER NOT NULL,
        unanswered INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
        cost_usd TEXT NOT NULL, doubt_usd TEXT NOT NULL, unpriced INTEGER NOT NULL,
        UNIQUE (run_id, key_name, model));
INSERT INTO "tallies" VALUES(1,'key-1','m',3,1,0,1,10,5,0,'0.001','0.01',0);
CREATE UNIQUE INDEX files_by_path ON files (folder, name);
CREATE INDEX files_not_done ON files (state) WHERE state <> 'done';
CREATE INDEX files_done ON files (hooks_version) WHERE state = 'done';
CREATE TRIGGER files_added AFTER INSERT ON files WHEN NEW.state IS NOT NULL BEGIN
        INSERT INTO standings VALUES (NEW.state, 1)
            ON CONFLICT (state) DO UPDATE SET files = files + 1; END;
CREATE TRIGGER files_moved AFTER UPDATE OF state ON files
        WHEN OLD.state IS NOT NEW.state BEGIN
        UPDATE standings SET files = files - 1 WHERE state = OLD.state;
        INSERT INTO standings VALUES (NEW.state, 1)
            ON CONFLICT (state) DO UPDATE SET files = files + 1; END;
CREATE INDEX outputs_by_file ON outputs (file_id);
CREATE INDEX attempts_by_file ON attempts (file_id);
CREATE UNIQUE INDEX answers_by_call ON answers (file_id, hash, k, try);
CREATE UNIQUE INDEX lines_by_call ON lines (file_id, hash, k, try);
CREATE INDEX lines_by_batch ON lines (batch_id, attempt_id);
CREATE INDEX lines_queued ON lines (path, model, size_bytes, tokens, queued_wall_s)
        WHERE batch_id IS NULL AND failure IS NULL;
CREATE INDEX rounds_suspended ON rounds (file_id) WHERE is_suspended;
COMMIT;
PRAGMA user_version = 2;
