import pytest

from openai_parallel_toolkit.keys import forget_default_manager


@pytest.fixture(autouse=True)
def fresh_default_manager():
    forget_default_manager()
    yield
    forget_default_manager()
