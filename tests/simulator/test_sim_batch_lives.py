"""Batches led through their lives by hand, turn by turn, whatever happens between two turns."""

import json
import time

import pytest
from batch_wire import line
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from openai_parallel_toolkit.simulator import BatchCourse, BatchLimits, SimKey
from openai_parallel_toolkit.simulator.batches.batch_service import SimBatchService
from openai_parallel_toolkit.simulator.batches.controls import BatchControls
from openai_parallel_toolkit.simulator.batches.file_store import FileStore
from openai_parallel_toolkit.simulator.batches.lines import BadLine, LineReader
from openai_parallel_toolkit.simulator.environment import Environment
from openai_parallel_toolkit.simulator.faults import FaultScript
from openai_parallel_toolkit.simulator.keys import Keyring
from openai_parallel_toolkit.simulator.latency import Latency
from openai_parallel_toolkit.simulator.ledger import Ledger

LIMIT = 100
WINDOW_S = 1000.0
CHAT = "/v1/chat/completions"


class BatchLives(RuleBasedStateMachine):
    """Every line ends in exactly one file, is billed once at most, and tokens are given back."""

    batches = Bundle("batches")

    def __init__(self):
        super().__init__()
        self.now_s = 0.0
        self.turns = []
        self.asked = {}
        self.ledger = Ledger()
        self.controls = BatchControls(seconds=1.0, window_s=WINDOW_S)
        environment = Environment(
            seed=0,
            context_tokens=1000,
            latency=Latency(),
            script=FaultScript(),
            ledger=self.ledger,
            batch_controls=self.controls,
            batch_limits=BatchLimits(lines=12),
            clock=self.clock,
            now_s=self.clock,
            later=lambda _, action: self.turns.append(action),
        )
        self.files = FileStore(environment)
        self.service = SimBatchService(environment, self.files)
        key = SimKey("good", enqueued_tokens=LIMIT)
        self.account = Keyring([key], time.monotonic).find(key.secret)

    def clock(self):
        return self.now_s

    @rule(
        target=batches,
        tokens=st.lists(st.integers(1, 6), max_size=14),
        end=st.sampled_from(["completed", "completed", "failed", "expired", "cancelled"]),
        share=st.floats(0, 1),
        is_refused=st.booleans(),
    )
    def create(self, tokens, end, share, is_refused):
        extra = {"max_tokens": 0} if is_refused else {}
        bodies = [
            {"model": "m", "messages": [{"role": "user", "content": "abc " * count}]}
            for count in tokens
        ]
        if bodies:
            bodies[0] |= extra
        content = b"".join(line(f"c{number}", body) for number, body in enumerate(bodies))
        self.controls.follow(BatchCourse(end, share=share))
        file = self.files.add(content, key="good", name="in.jsonl", purpose="batch")
        batch = self.service.create(
            account=self.account,
            input_file=file,
            endpoint=CHAT,
            metadata={},
            output_lifetime_s=None,
            is_azure=False,
        )
        self.asked[batch.id] = {f"c{number}" for number in range(len(bodies))}
        return batch

    @rule(count=st.integers(1, 10), which=st.integers(0))
    def take_turns(self, count, which):
        for _ in range(count):
            if self.turns:
                self.turns.pop(which % len(self.turns))()

    @rule(batch=batches)
    def cancel(self, batch):
        if not batch.is_over:
            self.service.cancel(batch)

    @rule()
    def hold(self):
        self.controls.hold()

    @rule()
    def release(self):
        self.controls.release()

    @rule(seconds=st.sampled_from([1.0, WINDOW_S]))
    def wait(self, seconds):
        self.now_s += seconds

    @invariant()
    def enqueued_tokens_never_exceed_the_limit(self):
        held = sum(
            batch.enqueued_tokens
            for batch in self.service.batches()
            if batch.model and not batch.is_over and not batch.errors
        )
        counts = self.service.enqueued().get("good", {})
        assert sum(count.now for count in counts.values()) == held <= LIMIT

    @invariant()
    def what_is_over_accounts_for_every_line(self):
        for batch in self.service.batches():
            answered = batch.completed + batch.failed
            assert answered <= batch.total
            if batch.status == "failed":
                assert batch.errors
                assert (batch.output_file_id, batch.error_file_id) == (None, None)
            elif batch.is_over:
                good, bad = self.custom_ids(batch.output_file_id, batch.error_file_id)
                assert sorted(good + bad) == sorted(self.asked[batch.id])
                assert len(good) == batch.completed
                assert batch.status != "completed" or answered == batch.total

    @invariant()
    def no_line_is_served_twice(self):
        rows = [(row.batch, row.custom_id) for row in self.ledger.rows()]
        assert len(rows) == len(set(rows))
        assert len(rows) == sum(batch.completed + batch.failed for batch in self.service.batches())

    def teardown(self):
        self.controls.release()
        while self.turns:
            self.turns.pop(0)()
        assert all(batch.is_over for batch in self.service.batches())
        self.what_is_over_accounts_for_every_line()
        self.enqueued_tokens_never_exceed_the_limit()

    def custom_ids(self, *file_ids):
        for file_id in file_ids:
            file = file_id and self.files.find(file_id, "good")
            texts = file.content.splitlines() if file else []
            yield [json.loads(text)["custom_id"] for text in texts]


BatchLives.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestBatchLives = BatchLives.TestCase

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None)
@given(
    body=st.dictionaries(st.text(), JSON),
    before=st.dictionaries(st.text(), JSON),
    space=st.text(" \t\r", max_size=2),
    is_ascii=st.booleans(),
)
def test_a_body_is_read_from_its_line_byte_for_byte(body, before, space, is_ascii):
    raw = json.dumps({**body, "model": "m"}, ensure_ascii=is_ascii).encode("utf-8", "replace")
    others = json.dumps({**before, "custom_id": "c", "url": CHAT, "method": "POST"}).encode()
    text = others[:-1] + b"," + space.encode() + b'"body" :' + raw + space.encode() + b"}"
    read = LineReader(CHAT).read(text, 1)
    assert (read.body, read.custom_id, read.model) == (raw, "c", "m")


@settings(max_examples=300, deadline=None)
@given(st.binary() | st.text('{}[]:," \\u1e', max_size=20).map(str.encode))
def test_a_line_that_is_no_request_is_a_bad_line_whatever_it_holds(text):
    with pytest.raises(BadLine) as caught:
        LineReader(CHAT).read(text, 1)
    assert caught.value.error.line == 1
