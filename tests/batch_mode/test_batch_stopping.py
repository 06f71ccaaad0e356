"""A run that stops while batches are out leaves them alone, and the next one takes them in."""

import json
import signal
import threading
import time

import pytest
from batch_fixture import Ask, billed_twice, question, start, until

from openai_parallel_toolkit import request_openai_api
from openai_parallel_toolkit.simulator import BatchCourse


class Edited(Ask):
    def process_data(self, data):
        return request_openai_api(question(f"edited: {data}"))


def stop_while_out(fixture, sim, number=signal.SIGTERM):
    """Run until a batch is out and stop; return status, what was printed and said."""
    sim.batch_controls.hold()
    with start(fixture) as child:
        until(lambda: any(batch.status == "in_progress" for batch in sim.batches.batches()))
        child.send_signal(number)
        out, err = child.communicate(timeout=100)
    return child.returncode, out.decode(), err.decode()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["int", "term"]
)
def test_a_signal_ends_the_run_and_tells_what_goes_on_remotely(fixture, number, status):
    sim = fixture.simulate()
    fixture.inputs(5).configure(sim)
    code, out, err = stop_while_out(fixture, sim, number)
    assert code == status, err
    assert "Traceback" not in err
    assert "At the provider: 1 batch with 5 calls" in out
    assert "told to by" in out
    sim.batch_controls.release()
    summary = fixture.run()
    assert (summary.done, summary.calls.sent, sim.ledger.billed()) == (5, 0, 5)
    assert sim.files.stored() == []


def test_a_batch_that_is_being_ordered_when_the_run_stops_is_not_ordered_again(fixture):
    children, is_first = [], threading.Lock()

    def stop(row):
        if row.path.endswith("/batches") and is_first.acquire(blocking=False):
            children[0].send_signal(signal.SIGINT)
            time.sleep(0.5)  # the run stops before it has the reply

    sim = fixture.simulate(on_post=stop)
    sim.batch_controls.set_pace(
        listed_after_s=3_600
    )  # a rerun finds what was noted, and nothing else
    fixture.inputs(5).configure(sim)
    with start(fixture) as child:
        children.append(child)
        _, err = child.communicate(timeout=100)
    assert child.returncode == 130, err
    assert fixture.run().done == 5
    assert (len(sim.batches.batches()), sim.ledger.billed()) == (1, 5)


def test_a_batch_that_ended_while_nobody_looked_is_taken_in(fixture):
    sim = fixture.simulate()
    fixture.inputs(5).configure(sim)
    stop_while_out(fixture, sim)
    sim.batch_controls.release()
    until(lambda: all(batch.is_over for batch in sim.batches.batches()))
    before = len(sim.batches.batches())
    summary = fixture.run()
    assert (summary.done, summary.calls.answered) == (5, 5)
    assert len(sim.batches.batches()) == before


def test_hooks_that_were_edited_get_their_own_answers(fixture):
    sim = fixture.simulate()
    fixture.inputs(5).configure(sim)
    expected = fixture.live_outputs(Edited)
    stop_while_out(fixture, sim)
    sim.batch_controls.release()
    summary = fixture.run(Edited)
    assert summary.done == 5
    assert fixture.outputs() == expected
    assert sim.ledger.billed() == 10, "the old prompts, which were on their way, and the new ones"


def test_lines_that_edited_hooks_do_not_ask_for_are_not_sent_again(fixture):
    sim = fixture.simulate()
    sim.batch_controls.follow(BatchCourse("expired", share=0.4))
    fixture.inputs(5).configure(sim)
    stop_while_out(fixture, sim)
    sim.batch_controls.release()
    assert fixture.run(Edited).done == 5
    assert sim.ledger.billed() == 2 + 5


def test_edited_hooks_do_not_wait_for_a_batch_they_do_not_need(fixture):
    sim = fixture.simulate("a", "b")
    fixture.inputs(4).configure_at(sim.url, [{"key": "sim-a", "name": "a"}])
    stop_while_out(fixture, sim)
    sim.batch_controls.release()
    fixture.configure_at(sim.url, [{"key": "sim-b", "name": "b"}])
    summary = fixture.run(Edited)
    assert (summary.done, summary.left, summary.batches_left) == (4, 0, 1)


def test_finished_files_need_no_answers_of_an_old_batch(fixture):
    """The files are finished live; the batch is still taken in, and paid for once."""
    sim = fixture.simulate()
    fixture.inputs(3).configure(sim)
    stop_while_out(fixture, sim)
    assert fixture.run(mode="live").done == 3
    sim.batch_controls.release()
    summary = fixture.run()
    assert (summary.done, summary.skipped, summary.batches_left) == (0, 3, 0)
    assert sim.files.stored() == []
    assert len(billed_twice(sim)) == 3, "that is the price of asking again live"


def test_a_summary_tells_programs_what_goes_on(fixture):
    sim = fixture.simulate()
    fixture.inputs(3).configure(sim)
    _, out, _ = stop_while_out(fixture, sim)
    told = json.loads(out.splitlines()[-1])
    assert (told["batches_left"], told["batch_calls_left"], told["left"]) == (1, 3, 3)
