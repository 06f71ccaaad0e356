"""A toolkit hears once that its run is over, and cannot change how it ended."""

import pytest
from run_fixture import Ask

from openai_parallel_toolkit import FilesFailed, NoUsableKey, RunLocked, UsageError
from openai_parallel_toolkit.files.run_lock import RunLock
from openai_parallel_toolkit.simulator import Fault, SimKey, Simulator


class Told(Ask):
    def finished(self, summary):
        self.heard = [*getattr(self, "heard", []), summary]


class Raising(Told):
    def finished(self, summary):
        super().finished(summary)
        raise self.error("no network, sk-0123456789abcdef")


@pytest.fixture
def sim():
    with Simulator([SimKey("good"), SimKey("empty", quota="none")]) as simulator:
        yield simulator


def test_it_hears_of_a_run_that_went_well(fixture, sim):
    toolkit = fixture.inputs(2).configure(sim).toolkit(Told)
    assert [toolkit.run()] == toolkit.heard
    assert toolkit.heard[0].done == 2
    toolkit.run()
    assert [summary.skipped for summary in toolkit.heard] == [0, 2]


@pytest.mark.parametrize(("keys", "error"), [(["good"], FilesFailed), (["empty"], NoUsableKey)])
@pytest.mark.parametrize("kind", [Told, Raising])
def test_it_hears_of_failures_and_early_stops_which_are_raised_whatever_it_does(
    fixture, sim, caplog, kind, keys, error
):
    sim.script.replace([Fault("400", marker="file 0")])
    toolkit = fixture.inputs(2).configure(sim, *keys).toolkit(kind, fail_on_error="end")
    toolkit.error = ValueError
    with pytest.raises(error) as caught:
        toolkit.run()
    assert toolkit.heard == [caught.value.summary]
    told = [record.getMessage() for record in caplog.records if "finished()" in record.getMessage()]
    assert len(told) == (kind is Raising)
    assert "sk-0123" not in "".join(told)


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_what_it_raises_is_a_warning(fixture, sim, caplog, error):
    toolkit = fixture.inputs(1).configure(sim).toolkit(Raising)
    toolkit.error = error
    assert toolkit.run().done == 1
    assert f"finished() raised {error.__name__}: no network" in caplog.text


def test_it_is_not_called_where_nothing_has_begun(fixture, sim):
    toolkit = fixture.inputs(1).configure(sim).toolkit(Told)
    lock = RunLock(str(fixture.output / ".openai_parallel_toolkit"))
    lock.acquire()
    with pytest.raises(RunLocked):
        toolkit.run()
    lock.release()
    assert not hasattr(toolkit, "heard")


def test_it_may_not_be_async(fixture, sim):
    class Later(Ask):
        async def finished(self, summary):
            pass

    with pytest.raises(UsageError, match="finished may not be async"):
        fixture.inputs(1).configure(sim).toolkit(Later)
