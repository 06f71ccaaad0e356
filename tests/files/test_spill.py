import os
import tempfile

from hypothesis import given
from hypothesis import strategies as st

from openai_parallel_toolkit.files.spill import Names, SpillDatabase

NAMES = st.binary(min_size=1, max_size=6).filter(lambda b: b"\0" not in b).map(os.fsdecode)


@given(names=st.lists(NAMES, max_size=40), in_memory=st.integers(1, 10))
def test_a_map_that_moved_to_disk_behaves_as_one_in_memory(names, in_memory):
    model = {}
    with tempfile.TemporaryDirectory() as folder:
        shelf = SpillDatabase(folder, in_memory=in_memory)
        kept = Names(shelf)
        for number, name in enumerate(names):
            assert kept.add(name, str(number)) == model.get(name)
            model.setdefault(name, str(number))
        assert list(kept) == sorted(model)
        assert all(name in kept for name in model)
        assert "absent name" not in kept
        kept.close()
        shelf.close()
        assert os.listdir(folder) == []


def test_a_long_walk_goes_on_while_other_tables_come_and_go(tmp_path):
    shelf = SpillDatabase(str(tmp_path), in_memory=10)
    walked = Names(shelf)
    wanted = [f"{number:05}" for number in range(25_000)]
    for name in wanted:
        walked.add(name)
    seen = []
    for name in walked:
        seen.append(name)
        if len(seen) % 9_000 == 0:
            other = Names(shelf)
            for number in range(30):
                other.add(str(number))
            other.close()
    assert seen == wanted
    shelf.close()
