"""A budget: what is spent and what is held never pass the cap, and no hold is lost."""

import threading
from decimal import Decimal
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from openai_parallel_toolkit.core.errors import BudgetExceeded
from openai_parallel_toolkit.costs.budget import Budget

CAP = Decimal(10)
AMOUNTS = st.integers(0, 1200).map(lambda cents: Decimal(cents) / 100)


class Asker:
    """One request for money, and whether it was woken."""

    def __init__(self, budget, amount_usd):
        self.woken = 0
        self.hold = budget.hold(amount_usd, self.wake)
        self.had_to_wait = self.hold.is_waiting

    def wake(self):
        self.woken += 1


class BudgetMachine(RuleBasedStateMachine):
    """Any order of holds, settlements and withdrawals."""

    askers = Bundle("askers")

    def __init__(self):
        super().__init__()
        self.budget = Budget(CAP, spent_usd=Decimal("0.50"))
        self.spent_usd = Decimal("0.50")
        self.live = []

    @rule(target=askers, amount_usd=AMOUNTS)
    def ask(self, amount_usd):
        asker = Asker(self.budget, amount_usd)
        self.live.append(asker)
        return asker

    @rule(asker=askers, share=st.fractions(0, 1))
    def settle(self, asker, share):
        if asker not in self.live or not asker.hold.is_granted:
            return
        amount_usd = asker.hold.amount_usd
        cost_usd = amount_usd * share.numerator / share.denominator
        self.live.remove(asker)
        self.spent_usd += cost_usd
        self.budget.settle(amount_usd, cost_usd)

    @rule(asker=askers)
    def withdraw(self, asker):
        if asker in self.live and asker.hold.error is None:
            self.live.remove(asker)
            self.budget.withdraw(asker.hold)

    @invariant()
    def the_cap_holds(self):
        funds = self.budget.funds()
        assert funds.spent_usd + funds.held_usd <= CAP

    @invariant()
    def no_money_is_lost(self):
        funds = self.budget.funds()
        granted = sum(a.hold.amount_usd for a in self.live if a.hold.is_granted)
        assert funds.held_usd == granted
        assert funds.spent_usd == self.spent_usd

    @invariant()
    def whoever_can_be_served_is(self):
        waiting = [asker for asker in self.live if asker.hold.is_waiting]
        funds = self.budget.funds()
        assert funds.waiting == len(waiting)
        if waiting:
            first = waiting[0].hold.amount_usd
            assert funds.held_usd > 0, "it waits for nobody"
            assert first + funds.spent_usd + funds.held_usd > CAP
            assert first + funds.spent_usd <= CAP, "it waits in vain"

    @invariant()
    def each_is_woken_once_if_it_waited(self):
        for asker in self.live:
            is_over = asker.had_to_wait and not asker.hold.is_waiting
            assert asker.woken == is_over


BudgetMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBudget = BudgetMachine.TestCase


def test_a_request_waits_while_another_may_give_enough_back():
    budget = Budget(Decimal(1))
    first, second = (Asker(budget, Decimal("0.60")) for _ in range(2))
    assert second.hold.is_waiting
    budget.settle(first.hold.amount_usd, Decimal("0.10"))
    assert second.hold.is_granted


def test_a_request_fails_once_nothing_in_flight_can_free_enough():
    budget = Budget(Decimal(1))
    first, second = (Asker(budget, Decimal("0.60")) for _ in range(2))
    budget.settle(first.hold.amount_usd, Decimal("0.50"))
    assert isinstance(second.hold.error, BudgetExceeded)
    assert second.hold.error.exit_code == 6
    assert "higher max_cost" in str(second.hold.error)


def test_a_cap_that_is_raised_lets_those_go_on_who_wait():
    budget = Budget(Decimal(1))
    first, second = (Asker(budget, Decimal("0.60")) for _ in range(2))
    assert second.hold.is_waiting
    budget.allow(Decimal("1.20"))
    assert second.hold.is_granted
    budget.allow(Decimal("0.10"))
    assert first.hold.is_granted
    assert Asker(budget, Decimal("0.20")).hold.error is not None


def test_what_earlier_runs_spent_counts():
    budget = Budget(Decimal(1), spent_usd=Decimal("0.95"))
    assert Asker(budget, Decimal("0.06")).hold.error is not None
    assert Asker(budget, Decimal("0.05")).hold.is_granted


def test_a_withdrawn_request_lets_the_next_ones_through():
    budget = Budget(Decimal(1))
    Asker(budget, Decimal("0.50"))
    large, small = Asker(budget, Decimal("0.90")), Asker(budget, Decimal("0.30"))
    assert small.hold.is_waiting
    budget.withdraw(large.hold)
    assert small.hold.is_granted


@pytest.mark.parametrize("seed", range(3))
def test_200_threads_that_race_for_the_last_dollar_do_not_pass_the_cap(seed):
    budget = Budget(Decimal(20))
    spent, refused, lock = [], [], threading.Lock()

    def spend(chance):
        for _ in range(50):
            ready = threading.Event()
            hold = budget.hold(Decimal(chance.randrange(1, 100)) / 100, ready.set)
            if hold.is_waiting:
                assert ready.wait(20)
            if hold.error is not None:
                with lock:
                    refused.append(hold)
                return
            cost_usd = hold.amount_usd * chance.randrange(101) / 100
            with lock:
                spent.append(cost_usd)
            budget.settle(hold.amount_usd, cost_usd)

    threads = [threading.Thread(target=spend, args=(Random(f"{seed} {n}"),)) for n in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused
    assert 19 < sum(spent) <= 20
    assert budget.funds().held_usd == 0
