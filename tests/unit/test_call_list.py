"""Which calls of a list are waited for."""

import pytest

from openai_parallel_toolkit.calls.call_list import CallList


def test_a_call_that_cannot_be_begun_is_not_waited_for():
    def refuse(item, deliver):
        raise OSError("the disk")

    calls = CallList(iter("a"), refuse, 2, print)
    with pytest.raises(OSError, match="the disk"):
        calls.begin()
    assert not calls.begin()


def test_one_that_ends_at_once_is_waited_for_until_it_is_taken():
    arrived = []
    calls = CallList(iter("ab"), lambda item, deliver: deliver(item.upper()), 2, arrived.append)
    assert calls.begin()
    assert arrived == [("a", "A"), ("b", "B")]
    calls.took()
    assert calls.begin()
    calls.took()
    assert not calls.begin()
