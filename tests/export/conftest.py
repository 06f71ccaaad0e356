import pytest
from export_fixture import Kept

from openai_parallel_toolkit.journal import Journal


@pytest.fixture
def kept(tmp_path):
    """A run that is on: its output folder, and its open journal."""
    state = tmp_path / "out" / ".openai_parallel_toolkit"
    state.parent.mkdir()
    journal = Journal.open(str(state))
    journal.begin_run(hooks_version="v")
    yield Kept(tmp_path / "out", journal)
    journal.close()
