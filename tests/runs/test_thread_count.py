"""num_threads="auto": more files under way while keys have room, and no more than that."""

import heapq
import math
from collections import deque
from random import Random
from statistics import median

import pytest
from run_fixture import Ask

from openai_parallel_toolkit import ConfigError, Gpt35Turbo, arequest_openai_api
from openai_parallel_toolkit.keys.standing import Counts
from openai_parallel_toolkit.runs.thread_count import Growth, has_room, usual_threads
from openai_parallel_toolkit.simulator import Latency, SimKey, Simulator


@pytest.mark.parametrize(
    ("in_flight", "waiting", "busy", "is_short", "is_of_use"),
    [
        (20, 0, 0.2, False, True),  # all wait for answers
        (20, 3, 0.2, False, False),  # the keys have no room
        (20, 0, 0.2, True, False),  # nor has the money
        (5, 0, 0.2, False, False),  # most of them do other things
        (20, 0, 1.0, False, False),  # there is no CPU left
    ],
)
def test_it_grows_only_while_more_would_be_of_use(in_flight, waiting, busy, is_short, is_of_use):
    counts = Counts(alive=1, in_flight=in_flight, waiting=waiting)
    assert has_room(20, counts, busy, is_short=is_short) == is_of_use


def asked_at_a_server(capacity, sigma, *, answers, seed):
    """Ask a server that serves so many at a time and queues the others, with lognormal times.

    Return the numbers under way at each look, and the answers a second in the second half.
    """
    random, growth, now_s = Random(seed), Growth(20, 512), 0.0
    serving, queue, out = [], deque(), 0
    done, seconds, numbers, half_s = 0, 0.0, [], 0.0
    next_look_s = 0.2
    while done < answers:
        while out < growth.count:
            queue.append(now_s)
            out += 1
        while queue and len(serving) < capacity:
            asked_s = queue.popleft()
            heapq.heappush(serving, (now_s + random.lognormvariate(0, sigma), asked_s))
        if serving[0][0] > next_look_s:
            now_s, next_look_s = next_look_s, next_look_s + 0.2
            growth.look(Counts(in_flight=out, answers=done, answer_s=seconds))
            numbers.append(growth.count)
            continue
        now_s, asked_s = heapq.heappop(serving)
        done, seconds, out = done + 1, seconds + now_s - asked_s, out - 1
        half_s = now_s if done == answers // 2 else half_s
    return numbers, answers / 2 / (now_s - half_s)


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_it_finds_from_where_on_a_server_that_queues_answers_no_faster(sigma, seed):
    capacity, seconds = 64, math.exp(sigma**2 / 2)
    numbers, rate_per_s = asked_at_a_server(capacity, sigma, answers=10_000, seed=seed)
    assert rate_per_s >= 0.95 * capacity / seconds
    assert median(numbers) < 512


@pytest.mark.parametrize("sigma", [0.1, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_long_answers_are_not_taken_for_a_server_that_is_full(sigma, seed):
    numbers, _ = asked_at_a_server(10_000, sigma, answers=30_000, seed=seed)
    assert numbers[-1] == 512


class AsyncAsk(Ask):
    async def process_data(self, data):

        return [await arequest_openai_api(Gpt35Turbo(content=data))]


@pytest.mark.parametrize("kind", [Ask, AsyncAsk])
def test_auto_has_more_files_under_way_where_answers_take_long(fixture, kind):
    usual = usual_threads()
    with Simulator([SimKey("good")], latency=Latency(0.6)) as sim:
        summary = fixture.inputs(4 * usual).configure(sim).run(kind, num_threads="auto")
        assert summary.done == sim.ledger.billed() == 4 * usual
        assert usual < sim.ledger.in_flight_peak <= summary.threads


@pytest.mark.parametrize("wrong", ["many", 0, -3, 2.5, True])
def test_other_words_are_refused(fixture, wrong):
    with pytest.raises(
        ConfigError, match='num_threads: expected a positive whole number or "auto"'
    ):
        fixture.toolkit(num_threads=wrong)
