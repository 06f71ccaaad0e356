"""Lines are written in their order whatever the order in which they end, and equal ones count."""

from collections import Counter
from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st

from openai_parallel_toolkit.api.prompts import output_order
from openai_parallel_toolkit.api.prompts.output_order import ANSWERED, OutputOrder, Repeats


@settings(deadline=None)
@given(st.permutations(range(40)), st.integers(1, 40))
def test_lines_come_in_order_and_none_before_its_end(order, most_under_way):
    found, under_way, begun = [], [], 0
    waiting = OutputOrder()
    while len(found) < len(order):
        while begun < len(order) and len(under_way) < most_under_way:
            assert waiting.begin(begun % 3) == begun
            under_way.append(begun)
            begun += 1
        ends = min(under_way, key=order.index)
        under_way.remove(ends)
        waiting.end(ends, ANSWERED if ends % 2 else ends * 10)
        while (turn := waiting.take()) is not None:
            found.append(turn)
            assert len(found) <= min(under_way, default=begun)
    assert found == [(n, n % 3, ANSWERED if n % 2 else n * 10) for n in range(len(order))]


def test_written_lines_leave_the_memory():
    waiting, count = OutputOrder(), 3 * output_order._MOST_WRITTEN + 7
    for n in range(count):
        waiting.end(waiting.begin(n))
        assert waiting.take() == (n, n, ANSWERED)
    assert waiting.take() is None
    assert len(waiting._ends) == 7


@settings(deadline=None)
@given(st.lists(st.integers(0, 9)))
def test_equal_requests_are_counted_from_zero(numbers):
    repeats, seen = Repeats(), Counter()
    for number in numbers:
        assert repeats.count(sha256(b"%d" % number).hexdigest()) == seen[number]
        seen[number] += 1
    repeats.close()
