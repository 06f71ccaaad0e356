"""A server that fails everyone is braked once for all, and tried now and then until it is back."""

import threading
import time

import pytest
from wire_fixture import check_books, until

from openai_parallel_toolkit import APIKeyManager
from openai_parallel_toolkit.simulator import Fault

#: 100 requests and a moment for those that were on their way.
MANY, MOST_INTO_THE_OUTAGE = 100, 45


def begin_outage(sim, after, seconds, **fault):
    """Have the simulator fail everyone from its `after`th request on, for some seconds."""
    until(lambda: sim.ledger.hits() >= after)
    sim.script.replace([Fault("503", **fault)])
    time.sleep(seconds)
    sim.script.replace([])


@pytest.mark.parametrize("threads", [20, 6])
def test_an_outage_in_the_middle_fails_no_file_and_is_asked_little(fixture, threads):
    sim = fixture.simulate(latency=0.02)
    fixture.inputs(MANY).configure(sim)
    outage = threading.Thread(target=begin_outage, args=(sim, 30, 0.8))
    outage.start()
    summary = fixture.run(num_threads=threads, max_retries=2)
    outage.join()
    assert (summary.done, summary.failed) == (MANY, 0)
    into_the_outage = sum(row.fault == "503" for row in sim.ledger.rows())
    assert 5 <= into_the_outage <= MOST_INTO_THE_OUTAGE
    check_books(fixture, sim, summary)


@pytest.mark.parametrize("kind", ["500", "502", "529"])
def test_an_outage_that_does_not_end_is_given_up_by_all_at_once(fixture, caplog, kind):
    sim = fixture.simulate(faults=[Fault(kind, message="the model is loading")])
    began_s = time.monotonic()
    summary = fixture.inputs(30).configure(sim).run(deadline_s=1.2, max_retries=9)
    assert time.monotonic() - began_s < 20
    assert (summary.done, summary.failed) == (0, 30)
    assert sim.ledger.hits() < 30
    lines = fixture.failures(summary)
    assert {line["kind"] for line in lines} == {"RequestFailed"}
    told = [line["message"] for line in lines if "has failed every request for" in line["message"]]
    assert len(told) >= 20
    assert all(f"({kind}: " in message for message in told)
    assert len([r for r in caplog.records if getattr(r, "action", "") == "outage"]) == 1


def test_a_file_that_always_fails_is_no_outage(fixture, caplog):
    sim = fixture.simulate(faults=[Fault("500", marker="file 7:", retry_after=0.01)])
    summary = fixture.inputs(MANY).configure(sim).run()
    assert (summary.done, summary.failed) == (MANY - 1, 1)
    assert not [r for r in caplog.records if getattr(r, "action", "") == "outage"]
    check_books(fixture, sim, summary)


def test_keys_of_another_server_work_on_during_an_outage(fixture):
    down = fixture.simulate("one", "two", faults=[Fault("503")])
    well = fixture.simulate("three")
    listed = [
        {"key": key.secret, "name": key.name, "api_base": sim.url}
        for sim in (down, well)
        for key in sim.keys
    ]
    fixture.inputs(40).configure_at(well.url, listed)
    summary = fixture.run()
    assert (summary.done, well.ledger.billed()) == (40, 40)
    assert down.ledger.hits() <= 20


def test_the_display_says_which_server_is_waited_for(fixture):
    sim = fixture.simulate(faults=[Fault("503", message="the model is loading")])
    manager = APIKeyManager(config_path=fixture.inputs(20).configure(sim).config)
    waits = []

    def watch():
        until(lambda: manager.waiting_on() is not None)
        waits.append(manager.waiting_on())

    watcher = threading.Thread(target=watch)
    watcher.start()
    fixture.run(key_manager=manager, deadline_s=1.0)
    watcher.join()
    address = sim.url.removesuffix("/v1")
    assert f"1 of 1 keys wait for the next try of a server: {address} " in waits[0].reason
    assert waits[0].reason.endswith("(503: the model is loading)")
    assert waits[0].until_s is not None
