"""Hooks that ask for something new every time are found before they burn money."""

import asyncio
import random
import time

from batch_fixture import Ask, Chain, Twice, question, start, until

from openai_parallel_toolkit import CarryingPool, arequest_openai_api, request_openai_api


class Timed(Ask):
    def process_data(self, data):
        return request_openai_api(question(f"at {time.time_ns()}: {data}"))


class TimedInTheSecondStep(Ask):
    def process_data(self, data):
        answer = request_openai_api(question(data))
        return request_openai_api(question(f"at {time.time_ns()}: {answer} {data}"))


class PartlyRandom(Ask):
    async def process_data(self, data):
        return await asyncio.gather(
            arequest_openai_api(question(data)),
            arequest_openai_api(question(f"{random.random()} {data}")),
        )


class ShuffledAsync(Ask):
    """Asks for the same in another order each time."""

    async def process_data(self, data):
        numbers = random.sample(range(9), 9)
        asked = [arequest_openai_api(question(f"{n} {data}")) for n in numbers]
        return sorted(await asyncio.gather(*asked))


class ShuffledThreads(Ask):
    def process_data(self, data):
        numbers = random.sample(range(9), 9)
        with CarryingPool(4) as pool:
            return sorted(pool.map(request_openai_api, [question(f"{n} {data}") for n in numbers]))


class FirstAsksNothing(Ask):
    def process_data(self, data):
        return "none" if "file 0:" in data else super().process_data(data)


def check_accused(fixture, summary, count):
    assert (summary.done, summary.failed) == (0, count)
    for line in fixture.failures():
        assert "something new each time" in line["message"]
        assert 'mode="live"' in line["message"]


def test_a_time_in_the_prompt_is_found_before_anything_is_paid(fixture):
    sim = fixture.simulate()
    summary = fixture.inputs(5).configure(sim).run(Timed)
    check_accused(fixture, summary, 5)
    assert sim.ledger.rows() == []


def test_a_time_in_the_second_step_is_found_when_its_answer_is_not_asked_for(fixture):
    sim = fixture.simulate()
    summary = fixture.inputs(5).configure(sim).run(TimedInTheSecondStep)
    check_accused(fixture, summary, 5)
    assert sim.ledger.billed() == 10, "the first step, and the second one once"


def test_a_hook_that_is_random_in_part_is_found_in_the_third_round(fixture):
    sim = fixture.simulate()
    summary = fixture.inputs(2).configure(sim).run(PartlyRandom)
    check_accused(fixture, summary, 2)
    assert sim.ledger.billed() == 2 * (2 + 1)


def test_hooks_that_ask_for_the_same_in_another_order_are_steady(fixture):
    sim = fixture.simulate()
    fixture.inputs(6).configure(sim)
    assert fixture.run(ShuffledAsync).done == 6
    assert fixture.run(ShuffledThreads, force=True).done == 6
    assert sim.ledger.billed() == 54


def test_hooks_that_ask_step_by_step_are_steady(fixture):
    sim = fixture.simulate()
    assert fixture.inputs(3).configure(sim).run(Chain).done == 3


def test_a_first_file_that_asks_nothing_proves_nothing(fixture):
    sim = fixture.simulate()
    fixture.inputs(4).configure(sim)
    assert fixture.run(FirstAsksNothing, num_threads=1).done == 4
    assert sim.ledger.billed() == 3


def test_answers_that_arrive_while_hooks_run_accuse_nobody(fixture):
    """An old batch is taken in between a hook's asking and its being run once more."""
    sim = fixture.simulate()
    fixture.inputs(4).configure(sim)
    sim.batch_controls.hold()
    with start(fixture, Twice) as child:
        until(lambda: any(batch.status == "in_progress" for batch in sim.batches.batches()))
        child.kill()

    class Slow(Twice):
        def process_data(self, data):
            sim.batch_controls.release()
            until(lambda: all(batch.is_over for batch in sim.batches.batches()))
            until(lambda: not sim.files.stored())
            return super().process_data(data)

    summary = fixture.run(Slow)
    assert (summary.done, summary.failed, sim.ledger.billed()) == (4, 0, 8)


def test_one_steady_file_does_not_clear_the_others(fixture):
    """Whether its first file was steady or not, a file is looked at in its second round."""

    class LaterTimed(Ask):
        def process_data(self, data):
            moment = "" if "file 0:" in data else f"{time.time_ns()} "
            return request_openai_api(question(moment + data))

    sim = fixture.simulate()
    summary = fixture.inputs(3).configure(sim).run(LaterTimed, num_threads=1)
    assert (summary.done, summary.failed) == (1, 2)
    assert sim.ledger.billed() == 3
