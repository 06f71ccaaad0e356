PRAGMA application_id = 1330664522;
PRAGMA auto_vacuum = 2;
BEGIN TRANSACTION;
CREATE TABLE answers (
        attempt_id INTEGER PRIMARY KEY, file_id INTEGER NOT NULL, hash BLOB NOT NULL,
        k INTEGER NOT NULL, try INTEGER NOT NULL, encoding INTEGER NOT NULL, crc INTEGER NOT NULL,
        body BLOB NOT NULL);
INSERT INTO "answers" VALUES(1,1,X'6B86B273FF34FCE19D6B804EFF5A3F5747ADA4EAA22F1D49C01E52DDB7875B4B',0,0,1,1994278878,X'7801CBC9CF4B57C8192546C360341D0CE76C000061B36A90');
INSERT INTO "answers" VALUES(2,1,X'D4735E3A265E16EEE03F59718B9B5D03019C07D8B6C51F90DA3A666EEC13AB35',0,0,0,2401800354,X'73686F7274');
CREATE TABLE attempts (
        id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL, file_id INTEGER NOT NULL,
        hash BLOB NOT NULL, k INTEGER NOT NULL, try INTEGER NOT NULL, key_name TEXT NOT NULL,
        model TEXT NOT NULL, max_cost_usd TEXT, started_wall_s REAL NOT NULL);
INSERT INTO "attempts" VALUES(1,1,1,X'6B86B273FF34FCE19D6B804EFF5A3F5747ADA4EAA22F1D49C01E52DDB7875B4B',0,0,'key-1','m','0.01',1800000000.0);
INSERT INTO "attempts" VALUES(2,1,1,X'D4735E3A265E16EEE03F59718B9B5D03019C07D8B6C51F90DA3A666EEC13AB35',0,0,'key-1','m','0.01',1800000000.0);
INSERT INTO "attempts" VALUES(3,1,1,X'4E07408562BEDB8B60CE05C1DECFE3AD16B72230967DE01F640B7E4729B49FCE',0,0,'key-1','m','0.01',1800000000.0);
CREATE TABLE dropped_keys (
        fingerprint TEXT NOT NULL UNIQUE, name TEXT NOT NULL, reason TEXT NOT NULL,
        wall_s REAL NOT NULL);
INSERT INTO "dropped_keys" VALUES('00aa11bb','key-1','no quota',1800000000.0);
CREATE TABLE endings (
        attempt_id INTEGER PRIMARY KEY, kind TEXT NOT NULL, status INTEGER, code TEXT NOT NULL,
        message TEXT NOT NULL, prompt_tokens INTEGER, completion_tokens INTEGER,
        cached_tokens INTEGER, cost_usd TEXT, request_id TEXT NOT NULL,
        ended_wall_s REAL NOT NULL);
INSERT INTO "endings" VALUES(1,'ok',200,'','',10,5,2,'0.001','req-1',1800000000.0);
INSERT INTO "endings" VALUES(2,'ok',200,'','',10,5,2,'0.001','req-1',1800000000.0);
INSERT INTO "endings" VALUES(3,'unknown',NULL,'cut','',NULL,NULL,NULL,NULL,'',1800000000.0);
CREATE TABLE files (
        id INTEGER PRIMARY KEY, folder BLOB NOT NULL, name BLOB NOT NULL,
        state TEXT, failed_runs INTEGER NOT NULL DEFAULT 0, failed_run_id INTEGER,
        is_suspect INTEGER NOT NULL DEFAULT 0, hooks_version TEXT, input_signature TEXT,
        failure_kind TEXT, failure_message TEXT, failure_trace TEXT, changed_wall_s REAL);
INSERT INTO "files" VALUES(1,X'64',X'C3A42E747874','done',0,NULL,0,'v1','sig',NULL,NULL,NULL,1800000000.0);
INSERT INTO "files" VALUES(2,X'',X'6261642E747874','failed',1,1,0,NULL,NULL,'ValueError','bad input','line 1',1800000000.0);
CREATE TABLE meta (key TEXT NOT NULL UNIQUE, value BLOB NOT NULL);
INSERT INTO "meta" VALUES('salt',X'000102030405060708090A0B0C0D0E0F');
INSERT INTO "meta" VALUES('created_wall_s',1800000000.0);
CREATE TABLE outputs (
        file_id INTEGER NOT NULL, staged BLOB NOT NULL, final BLOB NOT NULL UNIQUE,
        size_bytes INTEGER NOT NULL, sha256 TEXT NOT NULL, is_current INTEGER NOT NULL);
INSERT INTO "outputs" VALUES(1,X'732F31',X'642FC3A42E6A736F6E',3,'0000000000000000000000000000000000000000000000000000000000000000',1);
CREATE TABLE runs (
        id INTEGER PRIMARY KEY, started_wall_s REAL NOT NULL, pid INTEGER NOT NULL,
        host TEXT NOT NULL, hooks_version TEXT NOT NULL,
        ended_wall_s REAL, how TEXT NOT NULL DEFAULT '', summary TEXT NOT NULL DEFAULT '{}');
INSERT INTO "runs" VALUES(1,1800000000.0,1,'host','v1',1800000000.0,'finished','{"done": 1}');
CREATE TABLE standings (state TEXT NOT NULL UNIQUE, files INTEGER NOT NULL);
INSERT INTO "standings" VALUES('open',0);
INSERT INTO "standings" VALUES('intent',0);
INSERT INTO "standings" VALUES('done',1);
INSERT INTO "standings" VALUES('failed',1);
CREATE TABLE tallies (
        run_id INTEGER NOT NULL, key_name TEXT NOT NULL, model TEXT NOT NULL,
        sent INTEGER NOT NULL, answered INTEGER NOT NULL, unknown INTEGER NOT NULL,
        unanswered INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
        cost_usd TEXT NOT NULL, doubt_usd TEXT NOT NULL, unpriced INTEGER NOT NULL,
        UNIQUE (run_id, key_name, model));
INSERT INTO "tallies" VALUES(1,'key-1','m',3,2,1,0,20,10,4,'0.002','0.01',0);
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
COMMIT;
PRAGMA user_version = 1;
