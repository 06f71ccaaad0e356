"""One brake for each server: it closes off a server that fails everyone, and nobody else."""

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from keys_fixture import DEAD, NOT_HERE, OK, OVERLOADED, Asked, key, limited, manager_of

from openai_parallel_toolkit.core.clock import FakeClock
from openai_parallel_toolkit.core.records import Lease, Need, Outcome, OutcomeKind
from openai_parallel_toolkit.core.redaction import Secret
from openai_parallel_toolkit.keys.circuit import Circuit, address_of

REFUSED = Outcome(kind=OutcomeKind.UNSENT, code="connect", message="connection refused")
RESET = Outcome(kind=OutcomeKind.UNKNOWN, code="read")
GATEWAY = Outcome(kind=OutcomeKind.UNKNOWN, status=504)
REJECTED = Outcome(kind=OutcomeKind.REJECTED, status=400)
SLOW = Outcome(kind=OutcomeKind.UNKNOWN, code="deadline")
STOPPED = Outcome(kind=OutcomeKind.UNSENT, code="stopped")
PAGE = Outcome(kind=OutcomeKind.UNKNOWN, status=200, code="not_json")
CUT = Outcome(kind=OutcomeKind.UNKNOWN, code="body")


class Server:
    """A circuit, and requests that it lets pass, with a clock."""

    def __init__(self):
        self.circuit = Circuit("http://a.example:80", random.Random(1))
        self.now_s = 1000.0
        self.last_id = 0

    def lend(self, request="one"):
        assert self.circuit.blocked_until_s(self.now_s) is None
        self.last_id += 1
        lease = Lease(
            id=self.last_id,
            key_name="k",
            secret=Secret("s"),
            api_base="http://a.example",
            need=Need(model="m", tokens=1, request_hash=request),
            since_s=self.now_s,
        )
        self.circuit.in_flight += 1
        self.circuit.lent(lease)
        return lease

    def end(self, lease, outcome):
        self.circuit.in_flight -= 1
        return self.circuit.ended(lease, self.last_id, outcome, self.now_s)

    def send(self, request, outcome):
        self.end(self.lend(request), outcome)
        return self

    def fail(self, *requests, outcome=OVERLOADED):
        for request in requests:
            self.send(request, outcome)
        return self

    def pass_time(self):
        """Move on to the next probe."""
        until_s = self.circuit.blocked_until_s(self.now_s)
        assert until_s is not None
        waited_s, self.now_s = until_s - self.now_s, until_s
        return waited_s

    @property
    def is_open(self):
        return self.circuit.is_open


@pytest.mark.parametrize("outcome", [OVERLOADED, RESET, GATEWAY])
def test_five_different_requests_that_fail_in_a_row_open_it(outcome):
    server = Server().fail(*"abcd", outcome=outcome)
    assert not server.is_open
    assert server.fail("e", outcome=outcome).is_open
    assert server.circuit.is_blamed(outcome)


def test_three_attempts_in_a_row_that_find_no_server_open_it_whoever_made_them():
    server = Server().fail("a", "a", outcome=REFUSED)
    assert not server.is_open
    assert server.fail("a", outcome=REFUSED).is_open


def test_a_request_that_always_fails_opens_nothing_alone_or_with_a_few_others():
    assert not Server().fail(*["a", "b", "c", "d"] * 50).is_open


@pytest.mark.parametrize("between", [OK, limited(), DEAD, NOT_HERE, REJECTED, PAGE, CUT])
def test_any_reply_between_ends_the_row(between):
    server = Server().fail(*"abcd").send("x", between).fail("e")
    assert not server.is_open
    assert not server.circuit.is_blamed(OVERLOADED)


def test_requests_that_fail_while_others_are_answered_open_nothing_when_only_they_are_left():
    server = Server().fail(*"abcd").send("x", OK).fail(*"efgh").send("y", OK)
    assert not server.fail(*"abcdefgh" * 9).is_open
    assert server.fail(*"12345").is_open  # an outage all the same


def test_requests_that_fail_in_an_outage_are_no_odd_ones_after_it():
    server = Server().fail(*"abcde")
    server.pass_time()
    server.send("x", OK)
    assert server.fail(*"abcde").is_open


@pytest.mark.parametrize("between", [SLOW, STOPPED])
def test_what_says_nothing_of_the_server_changes_nothing(between):
    server = Server().fail(*"abcd").send("x", between)
    assert not server.is_open
    assert server.fail("e").is_open
    assert not server.circuit.is_blamed(between)


def test_an_answer_to_a_request_from_before_the_trouble_does_not_speak_for_the_server():
    server = Server()
    old = server.lend("old")
    server.fail(*"abcd", outcome=GATEWAY)
    server.end(old, OK)
    assert server.fail("e", outcome=GATEWAY).is_open
    older = Server()
    old = older.lend("old")
    older.fail(*"abcde", outcome=GATEWAY)
    older.end(old, OK)
    assert older.is_open


def test_a_server_that_works_on_some_and_refuses_the_rest_as_overloaded_is_not_down():
    server = Server()
    kept = [server.lend(f"kept {n}") for n in range(8)]
    refused = [server.lend(f"refused {n}") for n in range(20)]
    for lease in refused:
        server.end(lease, OVERLOADED)
    assert not server.is_open
    assert server.circuit.limit.blocked_until_s(8, server.now_s)
    for lease in kept:
        server.end(lease, OK)
    assert server.lend()


def test_a_server_that_refuses_everything_as_overloaded_is_down_once_nothing_is_out():
    server = Server()
    kept = server.lend("kept")
    server.fail(*"abcdef")
    assert not server.is_open
    server.end(kept, OVERLOADED)
    assert server.is_open


def test_a_server_that_refuses_and_answers_nothing_for_half_a_minute_is_down():
    server = Server()
    server.lend("hangs")
    server.fail(*"abcde")
    assert not server.is_open
    server.now_s += 30
    assert server.fail("f").is_open


def test_requests_that_are_out_since_the_first_failure_speak_for_the_server():
    server = Server().fail("a", outcome=GATEWAY)
    out = [server.lend(f"slow {n}") for n in range(6)]
    assert not server.fail(*"bcdef", outcome=GATEWAY).is_open
    assert server.fail("g", outcome=GATEWAY).is_open  # more have failed than are out
    assert server.circuit.blocked_until_s(server.now_s)
    for lease in out:
        assert not server.end(lease, OK)  # they began before it opened


def test_one_probe_passes_at_a_time_and_the_pauses_grow_to_ten_seconds():
    server = Server().fail(*"abcde")
    pauses = []
    for n in range(12):
        pauses.append(server.pass_time())
        probe = server.lend(f"probe {n}")
        assert server.circuit.blocked_until_s(server.now_s) > server.now_s
        assert server.end(probe, OVERLOADED)
    assert 0.5 <= pauses[0] <= 1
    assert all(5 <= pause <= 10 for pause in pauses[5:])
    assert sum(pauses) > 40


def test_the_first_probe_that_is_answered_closes_it_at_full_pace():
    server = Server().fail(*"abcde")
    server.pass_time()
    assert server.end(server.lend(), OK)
    assert not server.is_open
    assert len([server.lend() for _ in range(20)]) == 20


def test_a_probe_that_was_not_sent_leaves_its_place_to_another():
    server = Server().fail(*"abcde")
    server.pass_time()
    assert server.end(server.lend(), STOPPED)
    assert server.lend()


def test_a_probe_that_takes_long_does_not_hold_up_the_next_one_for_ever():
    server = Server().fail(*"abcde")
    server.pass_time()
    slow = server.lend()
    assert server.pass_time() == 30
    assert server.end(server.lend(), OK)
    assert not server.end(slow, OVERLOADED)
    assert not server.is_open


def test_a_server_that_names_a_time_is_probed_then_but_within_a_minute():
    for told_s, lowest_s, highest_s in [(20.0, 20, 20), (5000.0, 60, 60), (0.01, 0.5, 1)]:
        outcome = Outcome(kind=OutcomeKind.BUSY, status=503, retry_after_s=told_s)
        waited_s = Server().fail(*"abcde", outcome=outcome).pass_time()
        assert lowest_s <= waited_s <= highest_s


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("https://A.example/v1", "https://a.example:443/openai", True),
        ("http://a.example", "http://a.example:80/", True),
        ("http://a.example", "https://a.example", False),
        ("http://a.example:8000/v1", "http://a.example:8001/v1", False),
        ("http://user:secret@a.example/v1", "http://a.example/v1", True),
        ("http://[fd00::1]:8000", "http://[fd00::1]:8000/v1", True),
        ("http://[", "http://a:b", False),
    ],
)
def test_a_server_is_scheme_host_and_port(one, other, is_same):
    assert (address_of(one) == address_of(other)) is is_same
    assert "secret" not in address_of(one)


# --- under keys --------------------------------------------------------------------------------

HERE, THERE = "http://here.example/v1", "http://there.example/v1"


def ask(name):
    return Need(model="m", tokens=1, request_hash=name)


def bring_down(manager, outcome=OVERLOADED, needs="abcde"):
    outcomes = []
    for name in needs:
        lease = manager.lease(ask(name))
        outcomes.append(manager.settle(lease, outcome))
    return outcomes


def test_who_asks_waits_for_a_server_that_is_down_and_is_told_why(caplog):
    clock = FakeClock()
    manager = manager_of(key("a"), key("b"), clock=clock)
    outcomes = bring_down(manager)
    assert [outcome.is_outage for outcome in outcomes] == [False] * 4 + [True]
    clock.advance(0.1)
    asked = Asked(manager, ask("f"))
    assert asked.lease is None
    reason = manager.waiting_on().reason
    assert reason.startswith("2 of 2 keys wait for the next try of a server: https://api.openai")
    assert "has failed every request for 0.1 s (503: " in reason
    assert 0 < manager.waiting_on().until_s - clock.now_s() <= 1
    assert len([r for r in caplog.records if r.action == "outage"]) == 1
    clock.advance(1)
    probe = asked.wait()
    others = [Asked(manager, ask(f"other {n}")) for n in range(5)]
    assert all(other.lease is None for other in others)
    manager.settle(probe, OK)
    assert all(other.wait() for other in others)
    assert manager.waiting_on() is None


def test_keys_at_other_servers_go_on():
    manager = manager_of(key("a", api_base=HERE), key("b", api_base=HERE), key("c", api_base=THERE))
    for n in range(15):
        lease = manager.lease(ask(f"{n}"))
        manager.settle(lease, OK if lease.key_name == "c" else OVERLOADED)
    leases = [manager.lease(ask("x")) for _ in range(10)]
    assert {lease.key_name for lease in leases} == {"c"}
    assert manager.outage(ask("x")) is None


def test_an_outage_is_one_only_when_it_is_of_every_server():
    clock = FakeClock()
    manager = manager_of(key("a", api_base=HERE), key("b", api_base=THERE), clock=clock)
    for _ in range(20):
        if manager.outage(ask("x")) is not None:
            break
        asked = Asked(manager, ask("x"))
        if asked.lease is not None:
            manager.settle(asked.lease, REFUSED)
        else:
            asked.request.withdraw(RuntimeError())
    clock.advance(3)
    outage = manager.outage(ask("x"))
    assert outage.lasted_s == 3
    assert str(outage).startswith("http://")
    manager.remove_key("a")
    manager.remove_key("b")
    assert manager.outage(ask("x")) is None


# --- any story ---------------------------------------------------------------------------------


class Probing(RuleBasedStateMachine):
    """Whatever happens: nobody waits without end, and a server that is well is open to all."""

    def __init__(self):
        super().__init__()
        self.server = Server()
        self.out = []
        self.passed_s = []

    @property
    def circuit(self):
        return self.server.circuit

    @precondition(lambda self: self.circuit.blocked_until_s(self.server.now_s) is None)
    @rule(request=st.sampled_from("abcdefgh"))
    def lend(self, request):
        if self.circuit.is_open:
            self.passed_s.append(self.server.now_s)
        self.out.append(self.server.lend(request))

    @precondition(lambda self: self.out)
    @rule(
        data=st.data(),
        outcome=st.sampled_from([OK, OVERLOADED, OVERLOADED, REFUSED, RESET, SLOW, STOPPED, DEAD]),
    )
    def end(self, data, outcome):
        lease = data.draw(st.sampled_from(self.out))
        self.out.remove(lease)
        was_open, since_s = self.circuit.is_open, self.circuit.since_s
        changed = self.server.end(lease, outcome)
        if not was_open and self.circuit.is_open:
            assert changed
            assert self.circuit.is_blamed(outcome)
            self.passed_s.clear()
        if was_open and not self.circuit.is_open:
            assert changed
            assert outcome.status is not None
            assert lease.since_s >= since_s
        if outcome is OVERLOADED and self.circuit.is_open and changed:
            assert self.circuit.blocked_until_s(self.server.now_s)

    @rule(seconds=st.sampled_from([0.05, 1.0, 15.0, 100.0]))
    def wait(self, seconds):
        self.server.now_s += seconds

    @invariant()
    def the_next_probe_is_near(self):
        until_s = self.circuit.blocked_until_s(self.server.now_s)
        assert until_s is None or until_s - self.server.now_s <= 60
        assert until_s is None or self.circuit.is_open

    @invariant()
    def an_outage_is_told_only_while_it_is_one(self):
        outage = self.circuit.outage(self.server.now_s)
        assert (outage is not None) == self.circuit.is_open
        assert outage is None or 0 <= outage.lasted_s <= self.server.now_s - 1000

    @invariant()
    def a_server_that_is_well_is_open_to_all(self):
        """One answer to a probe is enough."""
        if self.circuit.since_s is None:
            assert not self.circuit.is_open
            assert self.circuit.blocked_until_s(self.server.now_s) is None


Probing.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
test_probing = Probing.TestCase
