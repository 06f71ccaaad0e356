"""Errors carry typed facts, say what they are, and survive being sent to another process."""

import copy
import dataclasses
import pickle

import pytest

from openai_parallel_toolkit.core import errors
from openai_parallel_toolkit.core.errors import RunStopped, ToolkitError

TOLD = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, ToolkitError)
]


@pytest.mark.parametrize("kind", TOLD)
@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_keeps_its_message_and_facts(kind, again):
    facts = {field.name: f"some {field.name}" for field in dataclasses.fields(kind)}
    error = again(kind(**facts))
    assert type(error) is kind
    assert vars(error) == facts
    assert str(error) == "some message"


@pytest.mark.parametrize("kind", TOLD)
def test_the_first_line_of_its_docstring_is_the_default_message(kind):
    assert str(kind()) == kind().message == kind.__doc__.splitlines()[0]


@pytest.mark.parametrize("kind", TOLD)
def test_a_fact_that_the_kind_does_not_have_is_refused(kind):
    with pytest.raises(TypeError, match="nonsense"):
        kind("words", nonsense=1)
    assert not hasattr(kind(), "nonsense")


def test_errors_with_the_same_facts_are_still_two():
    assert len({ToolkitError("a"), ToolkitError("a")}) == 2


@pytest.mark.parametrize("kind", TOLD)
def test_the_drawn_tree_names_every_error_under_its_parent(kind):
    depths = {}
    for line in errors.__doc__.splitlines():
        before, dash, rest = line.partition("─ ")
        if dash:
            depths[rest.split()[0]] = len(before) // 3 + 1
    assert depths.get(kind.__name__, 0) == len(kind.__mro__) - len(ToolkitError.__mro__)


def test_a_stopped_run_keeps_its_summary_and_exit_status():
    stopped = pickle.loads(pickle.dumps(RunStopped(130, "the summary")))
    assert (stopped.code, stopped.summary) == (130, "the summary")
