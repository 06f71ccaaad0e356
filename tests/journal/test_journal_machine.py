"""Any order of writes, restarts and kills leaves what a plain dictionary would hold."""

import shutil
import tempfile
from decimal import Decimal

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from journal_fixture import BUSY, NOTE, OK, UNKNOWN, bodies, call, claim, copy_of, output

from openai_parallel_toolkit.core.records import FileState
from openai_parallel_toolkit.journal import Journal, repair

_PATHS = st.sampled_from(["a", "b", "d/a", "d/é\udcff", "d/e/a"])
_PRICES = st.sampled_from([None, "0", "0.000001", "0.1", "12"])
_LIMIT = 2


class JournalMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.folder = tempfile.mkdtemp()
        self.generation = 0
        self.journal = Journal.open(f"{self.folder}/0")
        self.states, self.failed, self.answers, self.owners = {}, {}, {}, {}
        self.open, self.ids = {}, {}
        self.cost = self.doubt = Decimal(0)
        self.sent = self.unpriced = self.run = 0
        self.start_run()

    def start_run(self):
        self.journal.begin_run("v1")
        self.run += 1
        self.failed_now = set()

    def id_of(self, path):
        file_id = self.journal.file(path).id
        self.states.setdefault(path, FileState.OPEN)
        assert self.ids.setdefault(path, file_id) == file_id
        return file_id

    @rule(path=_PATHS, what=st.integers(0, 2), attempt_try=st.integers(0, 1), most=_PRICES)
    def claim(self, path, what, attempt_try, most):
        call_id = call(self.id_of(path), what, attempt_try=attempt_try)
        attempt = claim(self.journal, call_id, most)
        assert attempt not in self.open
        self.open[attempt] = path, call_id, most
        self.sent += 1
        self.account(most, 1)

    def account(self, most, sign):
        if most is None:
            self.unpriced += sign
        else:
            self.doubt += sign * Decimal(most)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), kind=st.sampled_from([OK, BUSY, UNKNOWN]), cost=_PRICES)
    def end(self, data, kind, cost):
        attempt = data.draw(st.sampled_from(sorted(self.open)))
        path, call_id, most = self.open.pop(attempt)
        cost = None if cost is None else Decimal(cost)
        if kind is OK:
            body = b"answer %d" % attempt
            self.journal.answered(attempt, call_id, OK, body, cost)
            key = call_id.hash, call_id.k, call_id.attempt_try
            self.answers.setdefault((path, *key), body)
        else:
            self.journal.ended(attempt, kind, cost)
        self.cost += cost or 0
        if cost is not None or kind is BUSY:
            self.account(most, -1)

    @rule(path=_PATHS)
    def opened(self, path):
        self.journal.opened(self.id_of(path))
        self.states[path] = FileState.OPEN

    @rule(path=_PATHS, finals=st.sets(st.sampled_from("xyz")))
    def intent(self, path, finals):
        said = []
        outputs = [output(final) for final in sorted(finals)]
        self.journal.intent(self.id_of(path), outputs, said.append)
        self.journal.flush()
        if any(self.owners.get(final, (path,))[0] != path for final in finals):
            assert said[0].owner in self.ids
        else:
            assert said == [None]
            self.states[path] = FileState.INTENT
            for final, (owner, _) in list(self.owners.items()):
                if owner == path:
                    self.owners[final] = path, False
            self.owners.update(dict.fromkeys(finals, (path, True)))

    @rule(path=_PATHS)
    def done(self, path):
        self.journal.done_file(self.id_of(path), "v1", "sig")
        self.states[path] = FileState.DONE
        self.failed.pop(path, None)
        self.failed_now.discard(path)

    @rule(path=_PATHS)
    def fails(self, path):
        self.journal.failed(self.id_of(path), NOTE, _LIMIT)
        if path not in self.failed_now:
            self.failed[path] = self.failed.get(path, 0) + 1
            self.failed_now.add(path)
        limit = self.failed.get(path, 0) >= _LIMIT
        self.states[path] = FileState.ASIDE if limit else FileState.FAILED

    @rule()
    def release(self):
        self.journal.release_aside()
        for path, state in self.states.items():
            if state is FileState.ASIDE:
                self.states[path] = FileState.FAILED
                self.failed.pop(path, None)
                self.failed_now.discard(path)

    @rule()
    def restart(self):
        self.journal.end_run("finished", {})
        self.journal.close()
        assert repair(self.place).problems == ()
        self.journal = Journal.open(self.place)
        assert not self.journal.last_run_died()
        self.start_run()

    @rule()
    def kill(self):
        self.journal.flush()
        old, self.generation = self.place, self.generation + 1
        copy_of(old, self.place)
        self.journal.close()
        self.journal = Journal.open(self.place)
        assert self.journal.last_run_died()
        self.start_run()

    @property
    def place(self):
        return f"{self.folder}/{self.generation}"

    @invariant()
    def is_as_the_dictionaries_say(self):
        if not hasattr(self, "journal"):
            return
        self.journal.flush()
        for path, file_id in self.ids.items():
            record = self.journal.known(path)
            finals = sorted(f for f, owner in self.owners.items() if owner == (path, True))
            assert (record.id, record.state) == (file_id, self.states.get(path))
            assert record.failed_runs == self.failed.get(path, 0)
            assert list(record.finals) == finals
            wanted = {key[1:]: body for key, body in self.answers.items() if key[0] == path}
            assert bodies(self.journal, file_id) == wanted
        figures = self.journal.totals().all_runs
        assert (figures.sent, figures.unanswered) == (self.sent, len(self.open))
        assert (figures.cost_usd, figures.doubt_usd) == (self.cost, self.doubt)
        assert figures.unpriced == self.unpriced
        in_intent = {path for path, state in self.states.items() if state is FileState.INTENT}
        assert {path for _, path, _ in self.journal.intents()} == in_intent

    def teardown(self):
        if hasattr(self, "journal"):
            self.journal.close()
            shutil.rmtree(self.folder)


TestJournalMachine = JournalMachine.TestCase
TestJournalMachine.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
