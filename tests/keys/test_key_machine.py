"""Any story of leases, settlements, limits, drops and time keeps the promises."""

import math
import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from keys_kit import DEAD, NOT_HERE, OK, OVERLOADED, UNSENT, answered, key, limited, need

from openai_parallel_toolkit.core.errors import LeaseTimeout, NoUsableKey
from openai_parallel_toolkit.core.records import RateHints
from openai_parallel_toolkit.keys.lease_request import LeaseRequest
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

    def heard(self, tickets):
        """Take in what the pool says it served or failed, and check the turn."""
        for ticket in tickets:
            self.waiting.remove(ticket)
            if ticket.lease is not None:
                elder = [t for t in self.waiting if t.number < ticket.number]
                assert all(t.need.model != ticket.need.model or t in tickets for t in elder)
            self.took(ticket)

    def took(self, ticket):
        assert not ticket.is_waiting
        if ticket.lease is None:
            assert isinstance(ticket.error, NoUsableKey | LeaseTimeout | RuntimeError)
            if isinstance(ticket.error, NoUsableKey):
                slots = self.pool.slots.values()
                assert not any(s.can_ever_serve(ticket.need.model) for s in slots)
            return
        self.leases.append(ticket.lease)
        slot = self.pool.slots[ticket.lease.key_name]
        assert slot.dropped is None
        assert self.cool_until_s.get(slot.group.name, 0) <= self.now_s
        self.sent.setdefault(slot, []).append(self.now_s)

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
        timeout_s=st.sampled_from([None, None, 0.0, 20.0]),
    )
    def ask(self, tokens, model, timeout_s):
        expires_s = None if timeout_s is None else self.now_s + timeout_s
        ticket = LeaseRequest(need(tokens, model), lambda: None, lambda *_: None, expires_s)
        self.waiting.append(ticket)
        others = self.pool.request(ticket, self.now_s)
        assert ticket not in others
        self.heard(others)
        if not ticket.is_waiting:
            self.waiting.remove(ticket)
            self.took(ticket)

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
        slot = self.pool.slots.get(lease.key_name)
        if slot is not None and outcome.is_limit and outcome.retry_after_s:
            until_s = self.now_s + min(outcome.retry_after_s, 600)
            name = slot.group.name
            self.cool_until_s[name] = max(self.cool_until_s.get(name, 0), until_s)
        settled = self.pool.settle(lease, outcome, None, self.now_s)
        assert settled is not None
        assert self.pool.settle(lease, outcome, None, self.now_s) is None
        self.heard(settled.tickets)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def withdraw(self, data):
        ticket = data.draw(st.sampled_from(self.waiting))
        self.heard(self.pool.withdraw(ticket, RuntimeError(), self.now_s))
        assert ticket not in self.waiting

    @precondition(lambda self: self.pool.slots)
    @rule(data=st.data(), what=st.sampled_from(["restore", "restore", "remove", "trial"]))
    def handle_key(self, data, what):
        name = data.draw(st.sampled_from(list(self.pool.slots)))
        if what == "restore":
            self.heard(self.pool.restore(name, self.now_s))
        elif what == "remove":
            self.heard(self.pool.remove(name))
        elif self.pool.slots[name].dropped is None:
            self.pool.slots[name].trial = "earlier"

    @rule(seconds=st.sampled_from([0.1, 1.0, 7.0, 60.0, 700.0]))
    def advance(self, seconds):
        self.now_s += seconds
        self.heard(self.pool.advance(self.now_s))

    @precondition(lambda self: self.pool.next_s() is not None)
    @rule()
    def advance_to_the_next_time(self):
        self.now_s = max(self.now_s, self.pool.next_s())
        self.heard(self.pool.advance(self.now_s))
        next_s = self.pool.next_s()
        assert next_s is None or next_s > self.now_s

    @invariant()
    def no_lease_is_lost(self):
        assert self.pool.in_flight == len(self.leases)
        for name, slot in self.pool.slots.items():
            assert slot.in_flight == sum(lease.key_name == name for lease in self.leases)
            room = slot.key.max_concurrent_requests
            assert room is None or slot.in_flight <= room
        assert self.pool.waiting_count == len(self.waiting)

    @invariant()
    def nobody_waits_for_what_is_free(self):
        """Whose turn it is waits only while every key is blocked, and not beyond the soonest."""
        next_s = self.pool.next_s()
        for lane in self.pool.waiting:
            slots = self.pool.slots.values()
            assert all(slot.block(lane.head.need, self.now_s) for slot in slots)
            times = [slot.ready_s(lane.head.need, self.now_s) for slot in slots]
            soonest_s = min((at_s for at_s in times if at_s is not None), default=None)
            if soonest_s is not None:
                assert next_s is not None
                assert next_s <= soonest_s + 1e-6

    @invariant()
    def requests_per_minute_are_kept(self):
        for slot, times in self.sent.items():
            rpm = slot.key.rpm
            for first in range(len(times) if rpm else 0):
                for last in range(first, len(times)):
                    allowed = rpm + (times[last] - times[first]) * rpm / 60
                    assert last - first + 1 <= math.floor(allowed + 1e-3)


Lending.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
test_lending = Lending.TestCase
