"""How long each search goes on: two seconds, or a minute with --full."""

import pytest


@pytest.fixture
def seconds(request):
    return 60.0 if request.config.getoption("--full") else 1.5
