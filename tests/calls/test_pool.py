"""Threads that a hook starts work for the hook's file."""

import contextvars

import pytest
from toolkit_fixture import Hooks

from openai_parallel_toolkit import CarryingPool, Gpt35Turbo, request_openai_api


class Submits(Hooks):
    def process_data(self, data):
        with CarryingPool(4) as pool:
            asked = [pool.submit(self.ask, data, part=n) for n in range(6)]
            return [future.result() for future in asked]

    @staticmethod
    def ask(data, part):
        return request_openai_api(Gpt35Turbo(f"{part} of {data}"))


class Maps(Submits):
    def process_data(self, data):
        with CarryingPool(max_workers=4) as pool:
            return list(pool.map(self.ask, [data] * 6, range(6)))


class Outside(Submits):
    """Uses one pool for all files."""

    def process_data(self, data):
        return list(self.pool.map(self.ask, [data] * 6, range(6)))


@pytest.mark.parametrize("kind", [Submits, Maps, Outside])
def test_calls_on_its_threads_are_kept_for_the_file(fixture, caplog, kind):
    sim = fixture.simulate()
    fixture.configure(sim).inputs(4)
    with CarryingPool(3) as Outside.pool:
        assert fixture.run(kind).done == 4
        before = fixture.outputs()
        for path in fixture.output.glob("*.json"):
            path.unlink()
        summary = fixture.run(kind)
    assert (summary.calls.replayed, summary.calls.sent, sim.ledger.billed()) == (24, 0, 24)
    assert fixture.outputs() == before
    assert "outside the hooks" not in caplog.text


def test_a_task_sees_the_context_of_who_handed_it_over_and_cannot_change_it():
    name = contextvars.ContextVar("name", default="nobody")

    def look():
        seen = name.get()
        name.set("changed")
        return seen

    with CarryingPool(1) as pool:
        name.set("first")
        first = pool.submit(look)
        name.set("second")
        assert [first.result(), *pool.map(lambda _: look(), range(2))] == ["first"] + ["second"] * 2
        assert name.get() == "second"


def test_errors_and_arguments_go_through():
    with CarryingPool(1) as pool:
        assert pool.submit(dict, [("a", 1)], b=2).result() == {"a": 1, "b": 2}
        with pytest.raises(ZeroDivisionError):
            pool.submit(divmod, 1, 0).result()
