"""num_threads="auto": more files under way while keys have room, and no more than that."""

import pytest
from run_fixture import Ask

from openai_parallel_toolkit import ConfigError, Gpt35Turbo, arequest_openai_api
from openai_parallel_toolkit.keys.standing import Counts
from openai_parallel_toolkit.runs.thread_count import grown, usual_threads
from openai_parallel_toolkit.simulator import Latency, SimKey, Simulator


@pytest.mark.parametrize(
    ("in_flight", "waiting", "busy", "is_short", "wanted"),
    [
        (20, 0, 0.2, False, 30),  # all wait for answers
        (20, 3, 0.2, False, 20),  # the keys have no room
        (20, 0, 0.2, True, 20),  # nor has the money
        (5, 0, 0.2, False, 20),  # most of them do other things
        (20, 0, 1.0, False, 20),  # there is no CPU left
    ],
)
def test_it_grows_only_while_more_would_be_of_use(in_flight, waiting, busy, is_short, wanted):
    counts = Counts(alive=1, in_flight=in_flight, waiting=waiting)
    assert grown(20, counts, busy, is_short=is_short) == wanted


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


def test_auto_stays_where_it_is_when_keys_have_no_room(fixture):
    with Simulator([SimKey("good", rpm=600, burst=5)], latency=Latency(0.05)) as sim:
        config = fixture.inputs(30).configure(sim)
        summary = config.run(num_threads="auto")
        assert (summary.done, sim.ledger.billed()) == (30, 30)
        assert summary.threads <= usual_threads()


@pytest.mark.parametrize("wrong", ["many", 0, -3, 2.5, True])
def test_other_words_are_refused(fixture, wrong):
    with pytest.raises(
        ConfigError, match='num_threads: expected a positive whole number or "auto"'
    ):
        fixture.toolkit(num_threads=wrong)
