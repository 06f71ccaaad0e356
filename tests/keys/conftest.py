import pytest
from keys_kit import MADE, timekeepers

from openai_parallel_toolkit.keys import forget_default_manager


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    """Each test starts without a default manager, and leaves no thread."""
    forget_default_manager()
    yield
    forget_default_manager()
    while MADE:
        MADE.pop().close()
    for thread in timekeepers():
        thread.join(10)
        assert not thread.is_alive()
