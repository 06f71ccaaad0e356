"""A run says when its hooks were short of CPU."""

import pytest

from openai_parallel_toolkit.runs.cpu_use import CpuUse
from openai_parallel_toolkit.runs.summary import RunSummary


@pytest.mark.parametrize(
    ("hooks", "sending", "seconds", "cores", "is_short"),
    [
        (0.95, 0.05, 60, 2, True),
        (0.7, 0.3, 60, 2, False),
        (0.2, 0.8, 60, 2, False),
        (0.95, 0.05, 3, 2, False),
        (0.95, 0.05, 60, 1, False),
    ],
    ids=["busy hooks", "hooks and calls", "calls", "a short run", "one core"],
)
def test_hooks_that_use_a_core_for_most_of_a_run_are_short_of_cpu(
    hooks, sending, seconds, cores, is_short
):
    at = [0.0]
    use = CpuUse(
        lambda: at[0],
        lambda: at[0] * sending,
        used_s=lambda: at[0] * (hooks + sending),
        cores=cores,
    )
    while at[0] < seconds:
        at[0] += 0.2
        use.look()
    assert use.is_short is is_short
    assert ("engine=" in str(RunSummary(is_short_of_cpu=use.is_short))) is is_short
