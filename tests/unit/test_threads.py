"""Threads are started in one place, which tells when there are no more; helpers need none."""

import threading
from pathlib import Path

from openai_parallel_toolkit.core.threads import Helpers, startable

PACKAGE = Path(__file__).parents[2] / "openai_parallel_toolkit"


def test_threads_are_started_in_one_place():
    others = [
        path.relative_to(PACKAGE)
        for path in PACKAGE.rglob("*.py")
        if "threading.Thread(" in path.read_text(encoding="utf-8")
        and path.parts[len(PACKAGE.parts)] != "simulator"
    ]
    assert others == [Path("core/threads.py")]


def test_threads_that_were_counted_are_gone():
    before = threading.active_count()
    assert startable(5) == 5
    assert threading.active_count() == before


def test_helpers_return_results_in_order_and_raise_what_the_work_raised():
    helpers = Helpers(3, "helper")
    assert helpers.map(lambda n: n * n, range(100)) == [n * n for n in range(100)]
    assert helpers.map(str, []) == []
    helpers.close()


def test_without_helpers_the_caller_does_it_all():
    """A closed pool refuses as one that gets no threads does."""
    helpers = Helpers(3, "helper")
    helpers.close()
    mine = set()
    assert helpers.map(lambda n: mine.add(threading.get_ident()) or n, [1, 2, 3]) == [1, 2, 3]
    assert mine == {threading.get_ident()}
