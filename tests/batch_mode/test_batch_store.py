"""What the journal keeps of batch mode: lines, batches and rounds, whatever comes between."""

import os
import shutil
import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from store_fixture import (
    ANSWER,
    OK,
    PATH,
    REFUSAL,
    answered,
    ask,
    back,
    form,
    hash_of,
    refused,
    sent,
    suspend,
)

from openai_parallel_toolkit.core.records import OutcomeKind
from openai_parallel_toolkit.journal import Journal, repair
from openai_parallel_toolkit.journal.batch_rows import BatchCounts, BatchStage, Told

STORED = Path(__file__).parents[1] / "journal"


@pytest.fixture
def state(tmp_path):
    return str(tmp_path / "state")


@pytest.fixture
def journal(state):
    journal = Journal.open(state)
    journal.begin_run("v1")
    journal.batches.begin()
    yield journal
    journal.close()


@pytest.fixture
def store(journal):
    return journal.batches


@pytest.fixture
def file_id(journal):
    return journal.file("a.txt").id


def test_what_is_asked_waits_and_leaves_in_the_order_of_asking(store, file_id):
    suspend(store, file_id, ask(file_id, "one"), ask(file_id, "two"))
    (queued,) = store.queued()
    assert (queued.path, queued.lines, queued.tokens) == (PATH, 2, 14)
    batch = form(store)
    assert (batch.lines, batch.tokens, batch.stage) == (2, 14, BatchStage.FORMED)
    assert [body for _, body in store.bodies(batch)] == [b'{"ask":"one"}', b'{"ask":"two"}']
    assert store.queued() == []
    assert store.take_ready(9) == []


def test_a_file_is_ready_once_when_all_its_answers_are_there(journal, store, file_id):
    suspend(store, file_id, ask(file_id, "one"), ask(file_id, "two"))
    batch = form(store)
    one, two = sent(store, batch)
    store.settle([answered(one)])
    assert store.take_ready(9) == []
    store.settle([answered(two)])
    assert [(ready.file_id, ready.path) for ready in store.take_ready(9)] == [(file_id, "a.txt")]
    assert store.take_ready(9) == []
    kept = {key[0]: stored.body() for key, stored in journal.answers(file_id).items()}
    assert kept == {hash_of("one"): ANSWER, hash_of("two"): ANSWER}


def test_a_call_that_was_answered_meanwhile_is_not_queued(journal, store, file_id):
    asked = ask(file_id, "one")
    attempt = journal.claim(asked.call, key_name="k", model="m", max_cost_usd=None)
    journal.answered(attempt, asked.call, OK, ANSWER, None)
    suspend(store, file_id, asked)
    assert store.queued() == []
    assert [ready.path for ready in store.take_ready(9)] == ["a.txt"]


def test_a_call_that_is_in_a_batch_is_not_queued_again(store, file_id):
    suspend(store, file_id, ask(file_id, "one"))
    form(store)
    suspend(store, file_id, ask(file_id, "one"), rounds=2)
    assert store.queued() == []
    assert store.batch_counts() == BatchCounts(queued=0, in_batches=1, batches=1, suspended=1)


def test_a_refusal_is_told_in_this_run_and_forgotten_in_the_next(store, file_id):
    suspend(store, file_id, ask(file_id, "one"))
    (one,) = sent(store, form(store))
    store.settle([refused(one)])
    assert store.refusals(file_id) == {(hash_of("one"), 0, 0): REFUSAL}
    assert [ready.file_id for ready in store.take_ready(9)] == [file_id]
    store.begin()
    assert store.refusals(file_id) == {}
    suspend(store, file_id, ask(file_id, "one"))
    assert [queued.lines for queued in store.queued()] == [1]


def test_a_new_run_forgets_what_was_in_no_batch(store, file_id):
    suspend(store, file_id, ask(file_id, "one"))
    batch = form(store)
    suspend(store, file_id, ask(file_id, "one"), ask(file_id, "two"), rounds=2)
    store.begin()
    assert (store.queued(), store.round_of(file_id)) == ([], (0, b""))
    assert [one.call.hash for one in sent(store, batch)] == [hash_of("one")]


def test_a_leftover_that_nobody_asks_for_is_not_sent_again_and_not_waited_for(store, file_id):
    suspend(store, file_id, ask(file_id, "old"), ask(file_id, "same"))
    batch = form(store)
    store.begin()
    suspend(store, file_id, ask(file_id, "same"), ask(file_id, "new"))
    assert [queued.lines for queued in store.queued()] == [1]
    old, same = sent(store, batch)
    store.settle([back(same)])
    assert [queued.lines for queued in store.queued()] == [2]
    for one in sent(store, form(store, token="u")):
        store.settle([answered(one)])
    assert [ready.file_id for ready in store.take_ready(9)] == [file_id], "`old` is still out"
    store.settle([back(old)])
    assert store.queued() == []


def test_what_comes_back_counts_as_sent_unless_its_batch_was_never_made(store, file_id):
    suspend(store, file_id, ask(file_id, "one"))
    (one,) = sent(store, form(store, token="t1"))
    store.settle([replace(back(one), is_counted=False)])
    assert [queued.lines for queued in store.queued(is_fresh=True)] == [1]
    (one,) = sent(store, form(store, token="t2"))
    assert one.sends == 1
    store.settle([back(one)])
    assert store.queued(is_fresh=True) == []
    (straggler,) = store.returned_lines(0, 9)
    assert (straggler.sends, straggler.request.body) == (1, b'{"ask":"one"}')
    store.end_returned({straggler.id: REFUSAL})
    assert store.returned_lines(0, 9) == []
    assert len(store.refusals(file_id)) == 1


def test_a_line_of_another_batch_is_not_found(store, file_id):
    suspend(store, file_id, ask(file_id, "one"), ask(file_id, "two"))
    lines = store.lines(PATH, "m", 9)
    first, second = form(store, lines[:1], "t1"), form(store, lines[1:], "t2")
    (one,) = sent(store, first)
    assert store.find(second, [one.attempt_id]) == {}
    assert store.find(first, [one.attempt_id, 99]) == {one.attempt_id: one}
    store.settle([answered(one)])
    assert store.find(first, [one.attempt_id]) == {}, "an end is noted once"


def test_steps_of_a_batch_are_durable(store, journal, state, file_id):
    suspend(store, file_id, ask(file_id, "one"))
    batch = form(store)
    batch = store.move_on(batch, BatchStage.UPLOADED, input_file_id="file-1")
    store.move_on(batch, BatchStage.CREATED, remote_id="batch-1", told=Told(is_cancelled=True))
    journal.close()
    again = Journal.open(state)
    try:
        (found,) = again.batches.open_batches()
        assert found.told == Told(is_cancelled=True)
        assert (found.stage, found.input_file_id, found.remote_id) == (
            BatchStage.CREATED,
            "file-1",
            "batch-1",
        )
        assert [body for _, body in again.batches.bodies(found)] == [b'{"ask":"one"}']
        again.batches.move_on(found, BatchStage.CLOSED)
        assert again.batches.open_batches() == []
    finally:
        again.close()


def test_repair_keeps_what_is_on_its_way(store, journal, state, file_id):
    suspend(store, file_id, ask(file_id, "one"), ask(file_id, "two"))
    batch = form(store)
    store.settle([answered(sent(store, batch)[0])])
    journal.close()
    with sqlite3.connect(os.path.join(state, "journal.sqlite3")) as db:
        db.execute("UPDATE answers SET body = x'00'")  # its checksum tells
    db.close()
    assert repair(state).kept_as is not None
    again = Journal.open(state)
    try:
        (found,) = again.batches.open_batches()
        assert found == batch
        assert [one.call.hash for one in sent(again.batches, found)] == [hash_of("two")]
        assert [body for _, body in again.batches.bodies(found)] == [b'{"ask":"two"}']
        assert form_after(again).id == batch.id + 1
    finally:
        again.close()


def form_after(journal):
    file_id = journal.file("b.txt").id
    suspend(journal.batches, file_id, ask(file_id, "more"))
    return form(journal.batches, token="u")


# Versions


def stored(state, version):
    """Lay down a journal as that version wrote it."""
    os.makedirs(state)
    db = sqlite3.connect(f"{state}/journal.sqlite3")
    db.executescript((STORED / f"version_{version}.sql").read_text(encoding="utf-8"))
    db.close()
    return Journal.open(state)


def test_a_journal_of_version_1_learns_to_keep_batches(state):
    journal = stored(state, 1)
    try:
        journal.begin_run("v2")
        journal.batches.begin()
        assert journal.batches.batch_counts() == BatchCounts()
        batch = form_after(journal)
        (one,) = sent(journal.batches, batch)
        assert one.attempt_id == 4, "attempts of old are not given again"
        journal.batches.settle([answered(one)])
        assert len(journal.answers(journal.file("b.txt").id)) == 1
        assert journal.totals().all_runs.answered == 3
    finally:
        journal.close()


def test_a_journal_of_version_2_is_read(state):
    """The stored file is what version 2 wrote; it is never made anew."""
    journal = stored(state, 2)
    try:
        store = journal.batches
        assert store.batch_counts() == BatchCounts(queued=1, in_batches=2, batches=1, suspended=1)
        (batch,) = store.open_batches()
        assert (batch.stage, batch.key_name, batch.remote_id) == (
            BatchStage.CREATED,
            "key-1",
            "batch-1",
        )
        file_id = journal.file("a.txt").id
        assert [body for _, body in store.bodies(batch)] == [b'{"ask":"two"}']
        assert store.refusals(file_id) == {(hash_of("three"), 0, 0): REFUSAL}
        assert store.round_of(file_id) == (2, b"marks")
        assert len(journal.answers(file_id)) == 1
        assert repair(state).problems == ()
    finally:
        journal.close()


# Any order of events

_FILES = st.integers(1, 3)
_WHATS = st.sets(st.sampled_from("abcd"), min_size=1, max_size=3)


class BookMachine(RuleBasedStateMachine):
    """Against dictionaries: each line is in one place, and each answer is kept for its call."""

    @initialize()
    def open(self):
        self.folder = tempfile.mkdtemp()
        self.lines = {}  # call -> [place, is_asked]; place: "queued", "refused" or a batch's token
        self.answers, self.waiting = set(), set()
        self.batches = {}
        self.count = 0
        self.journal = Journal.open(self.folder)
        self.run()

    @property
    def store(self):
        return self.journal.batches

    def run(self):
        self.journal.begin_run("v")
        self.ids = {n: self.journal.file(f"{n}.txt").id for n in range(1, 4)}

    @rule(n=_FILES, whats=_WHATS)
    def suspend(self, n, whats):
        suspend(self.store, self.ids[n], *(ask(self.ids[n], what) for what in sorted(whats)))
        self.waiting.add(n)
        for what in whats:
            if (n, what) in self.lines:
                self.lines[n, what][1] = True
            elif (n, what) not in self.answers:
                self.lines[n, what] = ["queued", True]

    @rule(limit=st.integers(1, 3))
    def form(self, limit):
        lines = self.store.lines(PATH, "m", limit)
        if lines:
            self.count += 1
            token = f"t{self.count}"
            self.batches[token] = form(self.store, lines, token)
            for line in lines:
                assert self.lines[self.call_of(line.call)][0] == "queued"
                self.lines[self.call_of(line.call)][0] = token

    def call_of(self, call):
        (n,) = (n for n, file_id in self.ids.items() if file_id == call.file_id)
        (what,) = (what for what in "abcd" if hash_of(what) == call.hash)
        return n, what

    @precondition(lambda self: self.batches)
    @rule(data=st.data(), how=st.sampled_from([answered, back, refused]))
    def end(self, data, how):
        token = data.draw(st.sampled_from(sorted(self.batches)))
        batch = self.batches[token]
        ones = sent(self.store, batch)
        chosen = data.draw(st.integers(0, len(ones)))
        self.store.settle([how(one) for one in ones[:chosen]])
        for one in ones[:chosen]:
            call = self.call_of(one.call)
            if how is answered:
                self.answers.add(call)
                del self.lines[call]
            elif how is refused:
                self.lines[call][0] = "refused"
            elif self.lines[call][1]:
                self.lines[call][0] = "queued"
            else:
                del self.lines[call]
        if chosen == len(ones):
            self.store.move_on(batch, BatchStage.CLOSED)
            del self.batches[token]

    @rule()
    def take_ready(self):
        held = {
            n for (n, _), (place, is_asked) in self.lines.items() if is_asked and place != "refused"
        }
        ready = {one.path for one in self.store.take_ready(9)}
        assert ready == {f"{n}.txt" for n in self.waiting - held}
        self.waiting &= held

    @rule(is_batch_run=st.booleans())
    def run_again(self, is_batch_run):
        self.journal.close()
        self.journal = Journal.open(self.folder)
        self.run()
        if is_batch_run:
            self.store.begin()
            self.lines = {
                call: [place, False]
                for call, (place, _) in self.lines.items()
                if place in self.batches
            }
            self.waiting.clear()

    @invariant()
    def lines_are_where_they_should_be(self):
        places = [place for place, _ in self.lines.values()]
        assert sum(queued.lines for queued in self.store.queued()) == places.count("queued")
        for token, batch in self.batches.items():
            calls = {self.call_of(one.call) for one in sent(self.store, batch)}
            assert calls == {call for call, (place, _) in self.lines.items() if place == token}
            assert len(list(self.store.bodies(batch))) == len(calls)
        assert [b.token for b in self.store.open_batches()] == list(self.batches)

    @invariant()
    def answers_and_refusals_are_kept_for_their_calls(self):
        for n, file_id in self.ids.items():
            kept = {hash for hash, _, _ in self.journal.answers(file_id)}
            assert kept == {hash_of(what) for m, what in self.answers if m == n}
            told = {hash for hash, _, _ in self.store.refusals(file_id)}
            expected = {c for c, (place, _) in self.lines.items() if place == "refused"}
            assert told == {hash_of(what) for m, what in expected if m == n}

    def teardown(self):
        if hasattr(self, "journal"):
            self.journal.close()
            shutil.rmtree(self.folder)


TestBookMachine = BookMachine.TestCase
TestBookMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_what_an_old_batch_brings_that_is_of_no_use_was_met_by_the_run_that_takes_it_in(journal):
    """So that its file fails in this run, and a later one asks again."""
    store = journal.batches
    suspend(store, 1, ask(1, "bad"), ask(1, "good"), ask(1, "late"))
    bad, good, late = sent(store, form(store))
    store.settle([answered(good)])
    journal.begin_run("v1")
    store.settle([replace(answered(bad), outcome=replace(OK, kind=OutcomeKind.UNUSABLE))])
    assert [journal.is_earlier(one.attempt_id) for one in (bad, good)] == [False, True]
    journal.begin_run("v1")
    assert all(journal.is_earlier(one.attempt_id) for one in (bad, good, late))
    again = journal.claim(late.call, key_name="k", model="m", max_cost_usd=None)
    assert not journal.is_earlier(again)
