"""What the journal promises to those who write and to those who read."""

import os
import stat
from decimal import Decimal

import pytest
from journal_fixture import (
    BUSY,
    FILE,
    NOTE,
    OK,
    UNKNOWN,
    Told,
    answer,
    bodies,
    call,
    claim,
    hash_of,
    output,
)

from openai_parallel_toolkit.core.clock import FakeClock
from openai_parallel_toolkit.core.errors import JournalError, OutputConflict, UsageError
from openai_parallel_toolkit.core.records import FileState, Outcome, OutcomeKind, Usage
from openai_parallel_toolkit.journal import JournalReader, prune


def test_an_answer_is_found_again_after_the_journal_was_closed(journal, open_journal):
    file = journal.file("a.txt")
    answer(journal, call(file.id, "x", k=2, attempt_try=1), b"the body")
    journal.close()
    again = open_journal()
    assert again.file("a.txt").id == file.id
    assert bodies(again, file.id) == {(hash_of("x"), 2, 1): b"the body"}


@pytest.mark.parametrize(
    "body", [b"", b"\x00\xff", b"short", b"long " * 1000, b"long " * 2000, os.urandom(2000)]
)
def test_a_body_comes_back_byte_for_byte(journal, body):
    file = journal.file("a.txt")
    answer(journal, call(file.id), body)
    journal.flush()
    assert list(bodies(journal, file.id).values()) == [body]


def test_a_call_keeps_its_first_answer(journal):
    file = journal.file("a.txt")
    answer(journal, call(file.id), b"first")
    answer(journal, call(file.id), b"second")
    journal.flush()
    assert list(bodies(journal, file.id).values()) == [b"first"]


def test_done_is_called_when_others_can_see_the_write(journal, state):
    file = journal.file("a.txt")
    told = Told()
    claim(journal, call(file.id), done=told)
    assert told.wait() is None
    with JournalReader(state) as reader:
        (attempt,) = reader.file("a.txt").attempts
    assert (attempt.hash, attempt.key_name, attempt.ending) == (hash_of("a"), "key-1", None)


def test_ids_go_on_after_a_restart(journal, open_journal):
    file = journal.file("a.txt")
    attempt = claim(journal, call(file.id))
    journal.close()
    again = open_journal()
    assert again.file("b.txt").id > file.id
    assert claim(again, call(file.id)) > attempt
    assert again.begin_run("v1") == 2


def test_a_file_has_one_id_however_soon_it_is_asked_again(journal):
    assert journal.file("d/a.txt") == journal.file("d/a.txt")
    journal.flush()
    assert journal.file("d/a.txt").id == journal.file("d/a.txt").id
    assert journal.file("d/a.txt").id != journal.file("a.txt").id


def test_a_file_may_be_looked_up_without_being_noted(journal):
    assert journal.known("a.txt") is None
    file = journal.file("a.txt")
    journal.flush()
    known = journal.known("a.txt")
    assert (file.state, known.id, known.state) == (None, file.id, FileState.OPEN)


@pytest.mark.parametrize("name", ["ä.txt", "bad\udcff.txt", "\ud800", "a\nb", "%?#.txt", "x\x00y"])
def test_any_name_comes_back_as_it_was(journal, name):
    path = f"{name}d/{name}"
    file = journal.file(path)
    journal.opened(file.id)
    journal.intent(file.id, [output(path)])
    journal.flush()
    (found,) = journal.files_in(f"{name}d")
    assert (found.name, found.finals, found.state) == (name, (path,), FileState.INTENT)
    assert journal.known(path).path == path


def test_a_finished_file_is_done_with_its_outputs(journal, open_journal):
    file = journal.file("a.txt")
    journal.opened(file.id)
    journal.intent(file.id, [output("a.json"), output("a.md", "s/2")])
    journal.flush()
    assert [(path, len(outputs)) for _, path, outputs in journal.intents()] == [("a.txt", 2)]
    journal.done_file(file.id, "v1", "sig")
    journal.close()
    again = open_journal()
    record = again.file("a.txt")
    assert record.state is FileState.DONE
    assert (record.hooks_version, record.input_signature) == ("v1", "sig")
    assert record.finals == ("a.json", "a.md")
    assert again.outputs(file.id) == (output("a.json"), output("a.md", "s/2"))
    assert list(again.intents()) == []


def test_two_files_cannot_own_one_output(journal):
    one, two = journal.file("a.txt"), journal.file("b.txt")
    first, second = Told(), Told()
    journal.intent(one.id, [output("x.json")], first)
    journal.intent(two.id, [output("y.json"), output("x.json")], second)
    assert first.wait() is None
    error = second.wait()
    assert isinstance(error, OutputConflict)
    assert (error.path, error.owner) == ("x.json", "a.txt")
    assert journal.owner_of_output("x.json") == one.id
    assert journal.owner_of_output("y.json") is None
    journal.flush()


def test_lines_of_common_files_are_noted_together_with_the_intent_or_not_at_all(journal):
    one, two = journal.file("a.txt"), journal.file("b.txt")
    told = Told()
    journal.intent(one.id, [output("x.json")], None, [("all", "1\n"), ("all", "2\n")])
    journal.intent(two.id, [output("x.json")], told, [("all", "3\n")])
    assert isinstance(told.wait(), OutputConflict)
    journal.done_file(one.id, "v1")
    journal.done_file(two.id, "v1")
    journal.flush()
    assert list(journal.appended_lines("all")) == [b"1\n2\n"]
    journal.intent(one.id, [output("x.json")])
    journal.done_file(one.id, "v1")
    journal.flush()
    assert list(journal.appended_lines("all")) == [b"1\n2\n"]
    journal.intent(one.id, [output("x.json")], None, [])
    journal.flush()
    assert journal.appended_names() == []


def test_an_output_stays_its_files_own_but_only_the_last_ones_are_current(journal):
    file, other = journal.file("a.txt"), journal.file("b.txt")
    journal.intent(file.id, [output("1.json"), output("2.json")])
    journal.intent(file.id, [output("2.json")])
    told = Told()
    journal.intent(other.id, [output("1.json")], told)
    assert isinstance(told.wait(), OutputConflict)
    assert journal.file("a.txt").finals == ("2.json",)
    assert journal.owner_of_output("1.json") == file.id


def test_a_failure_counts_once_a_run_and_puts_aside_at_the_limit(journal, open_journal):
    file = journal.file("a.txt")
    for failed_runs, state in ((1, FileState.FAILED), (2, FileState.FAILED), (3, FileState.ASIDE)):
        journal.failed(file.id, NOTE, 3)
        journal.failed(file.id, NOTE, 3)
        journal.flush()
        record = journal.file("a.txt")
        assert (record.failed_runs, record.state) == (failed_runs, state)
        journal.begin_run("v1")


def test_what_was_put_aside_can_be_released(journal):
    ids = {name: journal.file(name).id for name in ("a", "b", "c")}
    for file_id in ids.values():
        journal.put_aside(file_id, NOTE)
    journal.release_aside(["b"])
    journal.flush()
    assert [journal.file(n).state for n in "abc"] == [
        FileState.ASIDE,
        FileState.FAILED,
        FileState.ASIDE,
    ]
    journal.release_aside()
    journal.flush()
    assert {(journal.file(n).state, journal.file(n).failed_runs) for n in "abc"} == {
        (FileState.FAILED, 0)
    }


def test_being_done_clears_all_blame(journal, state):
    file = journal.file("a.txt")
    journal.failed(file.id, NOTE, 3)
    journal.mark_suspects([file.id])
    journal.flush()
    assert journal.file("a.txt").is_suspect
    journal.done_file(file.id, "v1", None)
    journal.flush()
    record = journal.file("a.txt")
    assert (record.is_suspect, record.failed_runs) == (False, 0)
    with JournalReader(state) as reader:
        assert reader.file("a.txt").failure is None


def test_a_suspect_can_be_cleared(journal):
    file = journal.file("a.txt")
    journal.mark_suspects([file.id])
    journal.clear_suspect(file.id)
    journal.flush()
    assert not journal.file("a.txt").is_suspect


def test_a_folder_is_listed_in_the_order_of_python_and_without_its_subfolders(journal):
    names = [f"{n:04}" for n in range(1200)] + ["é", "Z", "\udcff", "\U0001f600", "\uffff"]
    for name in names:
        journal.opened(journal.file(f"in/{name}").id)
        journal.opened(journal.file(f"in/sub/{name}").id)
    journal.flush()
    listed = [record.name for record in journal.files_in("in")]
    assert listed == sorted(names)
    assert list(journal.files_in("")) == []


def test_files_made_by_other_hooks_are_found_when_the_hooks_were_edited(journal):
    for number in range(3):
        journal.done_file(journal.file(f"old{number}").id, "v1", None)
    journal.done_file(journal.file("unknown").id, "", None)
    journal.begin_run("v2")
    journal.done_file(journal.file("new").id, "v2", None)
    journal.flush()
    assert [f.path for f in journal.made_by_other_hooks("v2")] == ["old0", "old1", "old2"]
    assert [f.path for f in journal.made_by_other_hooks("v1")] == ["new"]


def test_a_run_without_an_end_has_died(journal, open_journal):
    assert not journal.last_run_died()
    journal.end_run("finished", {"done": 1})
    journal.begin_run("v1")
    assert not journal.last_run_died()
    journal.close()
    again = open_journal()
    assert again.last_run_died()
    again.begin_run("v1")
    assert again.last_run_died()


def test_dropped_keys_are_remembered_until_restored(journal, open_journal):
    salt = journal.salt
    journal.key_dropped("aa", "key-1", "no quota")
    journal.key_dropped("bb", "key-2", "invalid")
    journal.key_dropped("aa", "key-1", "deactivated")
    journal.key_restored("bb")
    journal.close()
    again = open_journal()
    assert again.dropped_keys() == {"aa": "deactivated"}
    assert again.salt == salt
    assert len(salt) == 16


# Money


def test_cost_is_known_for_answers_and_at_most_for_the_rest(journal):
    file = journal.file("a.txt")
    answer(journal, call(file.id, 1), cost="0.0001", most="1")
    journal.ended(claim(journal, call(file.id, 2), most="0.2"), UNKNOWN)
    journal.ended(claim(journal, call(file.id, 3), most="0.4"), BUSY)
    claim(journal, call(file.id, 4), most="0.08")
    answer(journal, call(file.id, 5), cost=None, most="0.016")
    journal.ended(claim(journal, call(file.id, 6), most="32"), UNKNOWN, Decimal("0.5"))
    journal.flush()
    figures = journal.totals().this_run
    assert figures.cost_usd == Decimal("0.5001")
    assert figures.doubt_usd == Decimal("0.296")
    assert figures.max_cost_usd == Decimal("0.7961")
    assert (figures.sent, figures.answered) == (6, 2)
    assert (figures.unknown, figures.unanswered, figures.unpriced) == (2, 1, 0)
    assert (figures.prompt_tokens, figures.completion_tokens, figures.cached_tokens) == (20, 10, 4)


def test_attempts_without_a_price_are_counted_while_they_may_be_billed(journal):
    file = journal.file("a.txt")
    journal.ended(claim(journal, call(file.id, 1), most=None), UNKNOWN)
    journal.ended(claim(journal, call(file.id, 2), most=None), BUSY)
    claim(journal, call(file.id, 3), most=None)
    journal.flush()
    figures = journal.totals().all_runs
    assert (figures.unpriced, figures.max_cost_usd) == (2, 0)


def test_an_attempt_of_an_earlier_process_can_still_be_ended_once(journal, open_journal):
    file = journal.file("a.txt")
    attempt = claim(journal, call(file.id), most="0.5")
    journal.close()
    again = open_journal()
    again.begin_run("v1")
    for _ in range(2):
        again.answered(attempt, call(file.id), OK, b"late", Decimal("0.1"))
        again.flush()
    totals = again.totals()
    assert (totals.all_runs.cost_usd, totals.all_runs.doubt_usd) == (Decimal("0.1"), 0)
    assert (totals.all_runs.answered, totals.all_runs.unanswered) == (1, 0)
    assert totals.this_run.sent == 0
    assert list(bodies(again, file.id).values()) == [b"late"]


def test_an_attempt_that_never_began_cannot_end(journal):
    told = Told()
    journal.ended(99, BUSY, done=told)
    assert isinstance(told.wait(), JournalError)


def test_absurd_counts_and_texts_of_a_provider_do_not_cost_the_answer(journal, state):
    file = journal.file("a.txt")
    absurd = Outcome(
        kind=OutcomeKind.OK,
        message="lone \ud800",
        code="\udcff",
        usage=Usage(prompt_tokens=10**30, completion_tokens=-(10**30)),
    )
    attempt = claim(journal, call(file.id))
    journal.answered(attempt, call(file.id), absurd, b"paid", None)
    journal.flush()
    assert list(bodies(journal, file.id).values()) == [b"paid"]
    with JournalReader(state) as reader:
        assert reader.file("a.txt").attempts[0].ending.message == "lone \\ud800"


def test_one_write_that_cannot_be_made_does_not_harm_the_others(journal):
    file = journal.file("a.txt")
    good, bad = Told(), Told()
    attempts = [claim(journal, call(file.id, n)) for n in range(5)]
    journal.answered(attempts[0], call(file.id, 0), OK, b"good", None, good)
    journal.answered(attempts[1], call(file.id, 1), OK, "not bytes", None, bad)
    journal.answered(attempts[2], call(file.id, 2), OK, b"good too", None)
    assert good.wait() is None
    assert isinstance(bad.wait(), TypeError)
    journal.flush()
    assert sorted(bodies(journal, file.id).values()) == [b"good", b"good too"]
    assert journal.totals().all_runs.answered == 2
    assert journal.trouble is None


def test_a_failed_write_that_nobody_waits_for_is_raised_by_flush(journal):
    journal.ended(99, BUSY)
    with pytest.raises(JournalError):
        journal.flush()


def test_a_callback_that_raises_is_reported_and_does_not_stop_the_writing(journal, caplog):
    def broken(_):
        raise RuntimeError("loop is closed")

    file = journal.file("a.txt")
    claim(journal, call(file.id), done=broken)
    with pytest.raises(RuntimeError):
        journal.flush()
    told = Told()
    claim(journal, call(file.id), done=told)
    assert told.wait() is None
    assert "callback" in caplog.text


def test_a_closed_journal_takes_no_more(journal):
    journal.close()
    journal.close()
    with pytest.raises(UsageError):
        journal.opened(1)


# Files


def test_everything_in_the_state_folder_is_private(journal, state):
    answer(journal, call(journal.file("a.txt").id))
    journal.flush()
    names = sorted(os.listdir(state))
    assert names == [FILE, f"{FILE}-shm", f"{FILE}-wal", "reserve"]
    assert stat.S_IMODE(os.stat(state).st_mode) == 0o700
    for name in names:
        assert stat.S_IMODE(os.stat(os.path.join(state, name)).st_mode) == 0o600


# Readers


def test_a_reader_tells_how_the_work_stands(open_journal, state):
    clock = FakeClock(wall_s=5.0)
    journal = open_journal(clock=clock)
    journal.begin_run("v1")
    done, failed, aside = (journal.file(name) for name in ("done", "failed", "aside"))
    answer(journal, call(done.id, 1), key="key-1", model="small")
    answer(journal, call(done.id, 2), key="key-2", model="large")
    journal.done_file(done.id, "v1", None)
    journal.failed(failed.id, NOTE, 3)
    journal.put_aside(aside.id, NOTE)
    journal.key_dropped("aa", "key-2", "no quota")
    journal.flush()
    with JournalReader(state) as reader:
        status = reader.status()
        failures = list(reader.failures())
        clock.advance(2.0)
        journal.end_run("finished", {"done": 1})
        assert (reader.status().run.how, reader.status().run.ended_wall_s) == ("finished", 7.0)
    assert status.files == {
        FileState.OPEN: 0,
        FileState.INTENT: 0,
        FileState.DONE: 1,
        FileState.FAILED: 1,
        FileState.ASIDE: 1,
    }
    assert (status.run.id, status.run.ended_wall_s, status.run.how) == (1, None, "")
    assert status.totals.all_runs.answered == 2
    assert {name: f.sent for name, f in status.by_key.items()} == {"key-1": 1, "key-2": 1}
    assert {name: f.sent for name, f in status.by_model.items()} == {"small": 1, "large": 1}
    assert status.dropped == {"key-2": "no quota"}
    assert [(f.path, f.state, f.note) for f in failures] == [
        ("failed", FileState.FAILED, NOTE),
        ("aside", FileState.ASIDE, NOTE),
    ]


def test_a_reader_shows_the_attempts_of_a_file(journal, state):
    file = journal.file("d/a.txt")
    journal.ended(claim(journal, call(file.id)), BUSY)
    answer(journal, call(file.id), b"body", cost="0.002")
    journal.flush()
    with JournalReader(state) as reader:
        detail = reader.file("d/a.txt")
        with pytest.raises(UsageError):
            reader.file("a.txt")
    busy, ok = detail.attempts
    assert (busy.ending.kind, busy.ending.status, busy.answer) == (OutcomeKind.BUSY, 429, None)
    assert (ok.ending.cost_usd, ok.ending.prompt_tokens) == (Decimal("0.002"), 10)
    assert ok.answer.body() == b"body"
    assert ok.max_cost_usd == Decimal("0.01")


def test_a_reader_without_a_journal_says_so_and_makes_none(tmp_path):
    with pytest.raises(JournalError, match="no journal"):
        JournalReader(str(tmp_path))
    assert os.listdir(tmp_path) == []


# Upkeep


def test_prune_drops_the_answers_of_finished_files_and_gives_space_back(journal, state):
    done, failed = journal.file("done"), journal.file("failed")
    for n in range(300):
        answer(journal, call(done.id, n), os.urandom(4000))
    answer(journal, call(failed.id), b"kept")
    journal.done_file(done.id, "v1", None)
    journal.failed(failed.id, NOTE, 3)
    journal.close()
    report = prune(state)
    assert report.answers == 300
    assert report.freed_bytes > 1_000_000
    with JournalReader(state) as reader:
        assert reader.file("failed").attempts[0].answer.body() == b"kept"
        assert {a.answer for a in reader.file("done").attempts} == {None}
        assert reader.status().totals.all_runs.answered == 301
    assert prune(state).answers == 0
