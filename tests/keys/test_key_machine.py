"""Any story of leases, settlements, limits, drops and time keeps the promises."""

import math
import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from keys_fixture import DEAD, NOT_HERE, OK, OVERLOADED, UNSENT, answered, key, limited

from openai_parallel_toolkit.core.errors import NoUsableKey, RequestRejected
from openai_parallel_toolkit.core.records import Need, RateHints
from openai_parallel_toolkit.keys.model_queue import LeaseRequest
from openai_parallel_toolkit.keys.pool import Pool

limits = st.fixed_dictionaries(
    {
        "group": st.sampled_from([None, "g", "h"]),
        "rpm": st.sampled_from([None, None, 1, 6, 60]),
        "tpm": st.sampled_from([None, None, 100, 1000]),
        "max_concurrent_requests": st.sampled_from([None, None, 1, 3]),
    }
)
hints = st.builds(
    RateHints,
    limit_requests=st.sampled_from([None, 1, 5]),
    remaining_requests=st.integers(0, 5),
    reset_requests_s=st.sampled_from([None, 0.0, 1.0, 30.0]),
    limit_tokens=st.sampled_from([None, 500]),
    remaining_tokens=st.integers(0, 500),
    reset_tokens_s=st.sampled_from([None, 2.0]),
)
outcomes = st.one_of(
    st.sampled_from([OK, OK, OVERLOADED, UNSENT, NOT_HERE]),
    st.sampled_from([None, 1.0, 5.0, 5000.0]).map(limited),
    st.builds(lambda tokens, h: answered(tokens, 0, hints=h), st.integers(0, 300), hints),
)
models = st.sampled_from(["m", "m", "n"])


class Lending(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.pool = Pool("https://x", random.Random(1))
        self.now_s = 1000.0
        self.waiting = []
        self.leases = []
        self.sent = {}
        self.cool_until_s = {}
        self.names = 0

    def heard(self, requests):
        """Take in what the pool says it served or failed, and check the turn."""
        for request in requests:
            self.waiting.remove(request)
            if request.lease is not None:
                elder = [t for t in self.waiting if t.number < request.number]
                assert all(t.lane != request.lane or t in requests for t in elder)
            self.took(request)

    def took(self, request):
        assert not request.is_waiting
        if request.lease is None:
            assert isinstance(request.error, NoUsableKey | RequestRejected | RuntimeError)
            if not isinstance(request.error, RuntimeError):
                states = self.pool.states.values()
                assert not any(s.can_ever_serve(request.need) for s in states)
            return
        self.leases.append(request.lease)
        state = self.pool.states[request.lease.key_name]
        assert state.dropped is None
        assert self.cool_until_s.get((state.group.name, request.need.model), 0) <= self.now_s
        assert request.need.not_before_s <= self.now_s
        assert request.need.tokens <= (state.key.tpm or math.inf)
        times, rpm = self.sent.setdefault(state, []), state.key.rpm
        times.append(self.now_s)
        for first, since_s in enumerate(times if rpm else ()):  # the requests per minute are kept
            assert len(times) - first <= math.floor(rpm + (self.now_s - since_s) * rpm / 60 + 1e-3)

    @initialize(keys=st.lists(limits, min_size=1, max_size=4))
    def begin(self, keys):
        for each in keys:
            self.add(each)

    @rule(given=limits)
    def add(self, given):
        self.names += 1
        self.heard(self.pool.add(key(f"k{self.names}", **given), self.now_s))

    @rule(
        tokens=st.sampled_from([1, 50, 100, 700]),
        model=models,
        pause_s=st.sampled_from([None, None, None, 3.0, 30.0]),
    )
    def ask(self, tokens, model, pause_s):
        what = Need(
            model=model, tokens=tokens, not_before_s=(pause_s and self.now_s + pause_s) or 0.0
        )
        request = LeaseRequest(what, lambda: None, lambda *_: None)
        self.waiting.append(request)
        others = self.pool.queues.ask(request, self.now_s)
        assert request not in others
        self.heard(others)
        if not request.is_waiting:
            self.waiting.remove(request)
            self.took(request)

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), outcome=outcomes)
    def settle(self, data, outcome):
        lease = data.draw(st.sampled_from(self.leases))
        self.finish(lease, outcome)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def die(self, data):
        self.finish(data.draw(st.sampled_from(self.leases)), DEAD)

    def finish(self, lease, outcome):
        self.leases.remove(lease)
        state = self.pool.states.get(lease.key_name)
        # What is larger than the limit of 500 tokens may be known to be at fault itself.
        is_alone = lease.need.not_before_s > 0 or lease.need.tokens > 500
        if state is not None and outcome.is_limit and outcome.retry_after_s and not is_alone:
            until_s = self.now_s + min(outcome.retry_after_s, 600)
            name = state.group.name, lease.need.model
            self.cool_until_s[name] = max(self.cool_until_s.get(name, 0), until_s)
        settled = self.pool.settle(lease, outcome, None, self.now_s)
        assert settled is not None
        assert self.pool.settle(lease, outcome, None, self.now_s) is None
        self.heard(settled.requests)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def withdraw(self, data):
        request = data.draw(st.sampled_from(self.waiting))
        self.heard(self.pool.withdraw(request, RuntimeError(), self.now_s))
        assert request not in self.waiting

    @precondition(lambda self: self.pool.states)
    @rule(data=st.data(), what=st.sampled_from(["restore", "restore", "remove", "half_open"]))
    def handle_key(self, data, what):
        name = data.draw(st.sampled_from(list(self.pool.states)))
        if what == "restore":
            self.heard(self.pool.restore(name, self.now_s))
        elif what == "remove":
            self.heard(self.pool.remove(name))
        elif self.pool.states[name].dropped is None:
            self.pool.states[name].half_open = "earlier"

    @rule(seconds=st.sampled_from([0.1, 1.0, 7.0, 60.0, 700.0]))
    def advance(self, seconds):
        self.now_s += seconds
        self.heard(self.pool.queues.advance(self.now_s))

    @precondition(lambda self: self.pool.queues.next_s() < math.inf)
    @rule()
    def advance_to_the_next_time(self):
        self.now_s = max(self.now_s, self.pool.queues.next_s())
        self.heard(self.pool.queues.advance(self.now_s))
        assert self.pool.queues.next_s() > self.now_s

    @invariant()
    def no_lease_is_lost(self):
        counts = self.pool.counts(self.now_s)
        assert counts.in_flight == len(self.leases)
        for name, state in self.pool.states.items():
            assert state.in_flight == sum(lease.key_name == name for lease in self.leases)
            room = state.key.max_concurrent_requests
            assert room is None or state.in_flight <= room
        assert counts.waiting == len(self.waiting)

    @invariant()
    def nobody_waits_for_what_is_free(self):
        """Whose turn it is waits only while every key is blocked, and not beyond the soonest.

        But for keys that are kept for a larger request which has been passed for long.
        """
        next_s = self.pool.queues.next_s()
        kept = self.pool.queues._reserved(self.now_s)
        for queue in self.pool.queues.waiting:
            for state in self.pool.states.values():
                if state in kept or (state.group, queue.model) in kept:
                    continue
                assert state.block(queue.head.need, self.now_s)
                assert next_s <= state.ready_s(queue.head.need, self.now_s) + 1e-6


Lending.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
test_lending = Lending.TestCase
