"""The fixture that runs in worker processes start from."""

import contextlib

import pytest
from toolkit_fixture import ToolkitFixture


@pytest.fixture
def fixture(tmp_path):
    with contextlib.ExitStack() as stack:
        yield ToolkitFixture(tmp_path, stack)
