import pytest
from keys_fixture import MADE, timers

from openai_parallel_toolkit.keys import close_default_managers


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    """Each test starts without a default manager, and leaves no thread."""
    close_default_managers()
    yield
    close_default_managers()
    while MADE:
        MADE.pop().close()
    for thread in timers():
        thread.join(10)
        assert not thread.is_alive()
