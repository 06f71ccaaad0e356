"""How long each search goes on: a moment, or a minute with --full."""

import pytest


@pytest.fixture
def seconds(request):
    return 66.0 if request.config.getoption("--full") else 1.5
