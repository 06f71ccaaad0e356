"""The place where the tests about money work."""

import pytest
from money_fixture import Place


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)
