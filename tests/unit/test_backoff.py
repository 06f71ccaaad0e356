"""Waits between tries double up to a cap, and chance takes a share of each."""

import pytest

from openai_parallel_toolkit.core.clock import backoff_s


@pytest.mark.parametrize(
    ("failures", "longest_s"), [(1, 0.5), (2, 1), (3, 2), (7, 32), (8, 60), (9, 60), (10**9, 60)]
)
def test_the_longest_wait_doubles_up_to_the_cap(failures, longest_s):
    assert backoff_s(failures, 1.0, base_s=0.5, cap_s=60) == longest_s


@pytest.mark.parametrize("chance", [0.0, 0.25, 0.99])
def test_chance_takes_any_share_of_it(chance):
    assert backoff_s(4, chance, base_s=1, cap_s=60) == 8 * chance
