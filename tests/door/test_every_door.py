"""In a hook, whatever is asked through the openai package or a library on it is kept and paid once.

One table: every door, in every situation. Libraries that are not installed are skipped.
"""

import functools
import gc
import importlib.util
import inspect
import os
import signal
from pathlib import Path

import pytest
from door_asks import DOORS
from forked_process import ForkedProcess
from openai_asks import NOT_BATCHED, OPENAI_DOORS, asking

from openai_parallel_toolkit import BatchOptions
from openai_parallel_toolkit.simulator import Fault, SimKey

CHILD = Path(__file__).parent / "asks_child.py"
#: What the simulator answers with a part of what it was asked.
SAYS = {"chat", "stream", "stream with usage", "responses", "responses stream"}
QUICK = {"poll_s": 0.02, "longest_poll_s": 0.1, "listed_within_s": 0.1}
LIBRARIES = [name for name in DOORS if name not in OPENAI_DOORS]
#: They warn, and leave sockets and event loops open.
WARNS = pytest.mark.filterwarnings("ignore")
EVERY = [*OPENAI_DOORS, *(pytest.param(name, marks=WARNS) for name in LIBRARIES)]
#: What a door's errors are kinds of, where a request is refused and where no reply comes; what is
#: not here raises the openai package's own.
ERRORS = {
    "instructor": ("InstructorRetryException", "InstructorRetryException"),
    "pydantic_ai": ("ModelHTTPError", "ModelAPIError"),
    "litellm": ("BadRequestError", "APIError"),
}
OPENAI_ERRORS = ("BadRequestError", "APIConnectionError")
#: Keys, faults, requests for each ask, and which of the errors comes; None: the answer comes.
ONCE = {"times": 1, "per_payload": True}
SITUATIONS = {
    "400": (["a"], Fault("400"), 1, 0),
    "401 of one key in three": ([SimKey("dead", valid=False), "b", "c"], None, 1, None),
    "429": (["a"], Fault("429", retry_after=0.01, **ONCE), 2, None),
    "500": (["a"], Fault("500", **ONCE), 2, None),
    "reset": (["a"], Fault("reset_during"), 2, 1),
}


@pytest.fixture
def asks(name, monkeypatch):
    """A door's ways of asking; what its library leaves open is thrown away before the next test."""
    yield here(name, monkeypatch)
    if name in LIBRARIES:
        gc.collect()


def here(name, monkeypatch):
    """Return a door's ways of asking, or skip."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # it would fetch one
    if name in LIBRARIES and importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed; see the extra test-clients")
    return DOORS[name]


def caught(ask):
    """Ask, and return what an error is a kind of instead of raising it."""

    def kinds(exc):
        return [kind.__name__ for kind in type(exc).__mro__]

    @functools.wraps(ask)
    def blocking(text):
        try:
            return ask(text)
        except Exception as exc:
            return kinds(exc)

    @functools.wraps(ask)
    async def awaited(text):
        try:
            return await ask(text)
        except Exception as exc:
            return kinds(exc)

    return awaited if inspect.iscoroutinefunction(ask) else blocking


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("mode", ["live", "batch"])
def test_it_is_kept_and_in_batch_mode_in_batches(door, asks, mode):
    live = [ask for ask in asks if mode == "live" or ask in NOT_BATCHED]
    sim = door.simulate("a", "b", batch_seconds=0.05)
    summary = door.inputs(2).run(asking(asks), mode=mode, batch=BatchOptions(**QUICK))
    assert summary.done == 2, door.failures()
    billed = [bool(row.batch) for row in sim.ledger.rows() if row.billed]
    assert (billed.count(False), billed.count(True)) == (2 * len(live), 2 * (len(asks) - len(live)))
    before = door.outputs()
    for ask in SAYS & asks.keys():
        assert before["f001"][ask]
        assert before["f001"][ask] in f"text of file 1, {ask}"
    again = door.run(asking(asks), force=True)
    assert (again.calls.sent, again.calls.replayed) == (0, 2 * len(asks))
    assert door.outputs() == before


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_refusal_is_the_clients_own_error_and_the_rest_is_the_toolkits(
    door, name, asks, situation
):
    keys, fault, requests, error = SITUATIONS[situation]
    sim = door.simulate(*keys, faults=[fault] if fault else [])
    at_a_time = len(asks) if fault else 1
    hooks = asking({ask: caught(way) for ask, way in asks.items()}, at_a_time)
    assert door.inputs(1).run(hooks, num_threads=1).done == 1
    rows = sim.ledger.rows()
    assert len(rows) == requests * len(asks) + (fault is None)
    for ask, value in door.outputs()["f000"].items():
        expected = (
            [] if error is None else {OPENAI_ERRORS[error], ERRORS.get(name, OPENAI_ERRORS)[error]}
        )
        kinds = value if isinstance(value, list) and "Exception" in value else []
        assert bool(kinds) == (error is not None), (ask, value)
        assert not expected or {*expected} & {*kinds}, (ask, value)


@pytest.mark.crash
@pytest.mark.parametrize(
    "names", [tuple(OPENAI_DOORS), *[(name,) for name in LIBRARIES]], ids="-".join
)
def test_after_kill_9_half_way_nothing_is_billed_again_but_what_was_in_flight(
    door, names, monkeypatch
):
    asked, child = sum(len(here(name, monkeypatch)) for name in names), []

    def on_post(row):
        if row.ordinal == (asked + 1) // 2:
            os.kill(child[0].pid, signal.SIGKILL)

    sim = door.simulate("a", "b", on_post=on_post)
    door.inputs(1)
    command = [CHILD, door.config, door.input, door.output, *names]
    for code in (-signal.SIGKILL, 0):
        child[:] = [ForkedProcess(command)]
        assert child[0].wait(240) == code
    assert asked <= sim.ledger.billed() <= asked + 1
    assert len(door.outputs()) == 1
