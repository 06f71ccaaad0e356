"""max_cost holds in batch mode, at half the price."""

import json
import threading
from decimal import Decimal

import pytest
from batch_fixture import MODEL, Ask, cost_of, lines_of, question

from openai_parallel_toolkit import (
    BudgetExceeded,
    ConfigError,
    FakeTransport,
    Gpt35Turbo,
    OpenAIModel,
    UsageError,
    request_openai_api,
    request_reply,
)
from openai_parallel_toolkit.simulator import BatchCourse

FILES = 12


class Short(Ask):
    """Bounds its answers, so that the most they can cost is not far from what they cost."""

    def process_data(self, data):
        return request_openai_api(Gpt35Turbo(content=data, max_tokens=40))


def full_cost(fixture):
    """What the whole job costs in batches; twelve lines cost less than one may cost twice."""
    sim = fixture.simulate()
    summary = fixture.inputs(FILES).configure(sim).run(Short, output=fixture.root / "unbounded")
    return summary.cost_usd


def test_a_cap_that_bears_half_the_job_is_not_passed(fixture):
    cap = full_cost(fixture) * Decimal("0.75")
    sim = fixture.simulate()
    with pytest.raises(BudgetExceeded) as caught:
        fixture.configure(sim).run(Short, max_cost=cap, batch={"max_lines": 2})
    summary = caught.value.summary
    assert 0 < summary.done < FILES
    assert summary.done + summary.left == FILES
    assert 0 < cost_of(lines_of(sim)) <= cap
    assert summary.funds.spent_usd == cost_of(lines_of(sim))


def test_a_cap_holds_over_several_runs(fixture):
    cap = full_cost(fixture) * Decimal("0.75")
    sim = fixture.simulate()
    fixture.configure(sim)
    for _ in range(3):
        with pytest.raises(BudgetExceeded):
            fixture.run(Short, max_cost=cap, batch={"max_lines": 2})
        assert cost_of(lines_of(sim)) <= cap
    assert fixture.run(Short, max_cost=cap * 10).left == 0
    assert len(fixture.outputs()) == FILES
    assert sim.ledger.billed() == FILES


def test_lines_that_are_lost_may_be_billed_and_count_against_the_cap(fixture):
    cap = full_cost(fixture)
    sim = fixture.simulate()
    sim.batch_controls.always_follow(BatchCourse(lost_share=0.5))
    with pytest.raises(BudgetExceeded) as caught:
        fixture.configure(sim).run(Short, max_cost=cap, batch={"max_lines": 4})
    assert cost_of(lines_of(sim)) <= caught.value.summary.max_cost_usd <= cap


def test_money_of_lines_that_were_not_asked_comes_back(fixture):
    cost = full_cost(fixture)
    sim = fixture.simulate()
    sim.batch_controls.follow(BatchCourse("expired", share=0.25), BatchCourse("failed"))
    summary = fixture.configure(sim).run(Short, max_cost=cost * 3)
    assert summary.done == FILES
    assert summary.funds.held_usd == 0
    assert summary.funds.spent_usd == summary.cost_usd == cost


def test_a_cap_without_a_price_is_refused_before_anything_is_sent(fixture):
    sim = fixture.simulate()
    fixture.inputs(2).configure(sim, prices={})

    class Unpriced(Ask):
        def process_data(self, data):
            return request_openai_api(Gpt35Turbo(content=data, model="nobody-knows"))

    with pytest.raises(ConfigError, match="nobody-knows"):
        fixture.run(Unpriced, max_cost=1)
    assert sim.ledger.rows() == []


def test_without_a_cap_an_unknown_price_is_told_as_unknown(fixture):
    class Unpriced(Ask):
        def process_data(self, data):
            return request_openai_api(Gpt35Turbo(content=data, model="nobody-knows"))

    sim = fixture.simulate()
    summary = fixture.inputs(2).configure(sim, prices={}).run(Unpriced)
    assert (summary.done, summary.calls.unpriced) == (2, 2)
    assert "cost unknown" in str(summary)


# What cannot be had in batches


def test_what_a_generate_of_ones_own_asks_is_batched_too(fixture):
    class Own(OpenAIModel):
        def __init__(self, content):
            self.content = content

        def generate(self, client):
            messages = [{"role": "user", "content": self.content}]
            return client.chat.completions.create(model=MODEL, messages=messages)

    class AsksOwn(Ask):
        def process_data(self, data):
            return request_openai_api(Own(data))

    sim = fixture.simulate()
    summary = fixture.inputs(2).configure(sim).run(AsksOwn)
    assert summary.done == 2
    assert [bool(row.batch) for row in sim.ledger.rows() if row.billed] == [True] * 2


def test_a_call_outside_the_hooks_says_why_it_gets_no_answer(fixture):
    class AsksOutside(Ask):
        def process_data(self, data):
            errors = []

            def ask():
                try:
                    request_openai_api(question(data))
                except UsageError as exc:
                    errors.append(str(exc))

            thread = threading.Thread(target=ask)
            thread.start()
            thread.join()
            return errors[0]

    sim = fixture.simulate()
    fixture.inputs(1).configure(sim).run(AsksOutside)
    (text,) = fixture.outputs().values()
    assert b"CarryingPool" in text
    assert sim.ledger.rows() == []


def test_a_transport_of_ones_own_does_not_go_with_batches(fixture):
    sim = fixture.simulate()
    with pytest.raises(ConfigError, match="transport="):
        fixture.inputs(1).configure(sim).run(transport=FakeTransport(lambda request: "hello"))


def test_a_reply_tells_the_live_price_whatever_carried_it(fixture):
    """What a hook makes of an answer does not depend on the mode of the run."""

    class Costs(Ask):
        def process_data(self, data):
            return str(request_reply(question(data)).cost_usd)

    sim = fixture.simulate()
    expected = fixture.inputs(2).live_outputs(Costs)
    summary = fixture.configure(sim).run(Costs)
    assert fixture.outputs() == expected
    assert summary.cost_usd * 2 == sum(Decimal(json.loads(text)) for text in expected.values())
