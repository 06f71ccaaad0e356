from contextlib import suppress

import pytest

from openai_parallel_toolkit.core.errors import ToolkitError
from openai_parallel_toolkit.journal import Journal


@pytest.fixture
def state(tmp_path):
    return str(tmp_path / "state")


@pytest.fixture
def open_journal(state):
    opened = []

    def open_one(folder=state, **how):
        opened.append(Journal.open(folder, **how))
        return opened[-1]

    yield open_one
    for journal in opened:
        with suppress(ToolkitError, RuntimeError):  # the test has looked at it
            journal.close()


@pytest.fixture
def journal(open_journal):
    journal = open_journal()
    journal.begin_run("v1")
    return journal
