import os
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_disk import small_disk

from openai_parallel_toolkit.core.errors import StorageError
from openai_parallel_toolkit.files.spill import Names, SpillDatabase

NAMES = st.binary(min_size=1, max_size=6).filter(lambda b: b"\0" not in b).map(os.fsdecode)


@given(names=st.lists(NAMES, max_size=40), in_memory=st.integers(1, 10))
def test_a_map_that_moved_to_disk_behaves_as_one_in_memory(names, in_memory):
    model = {}
    with tempfile.TemporaryDirectory() as folder:
        spill = SpillDatabase(folder)
        kept = Names(spill, b"a", in_memory=in_memory)
        for number, name in enumerate(names):
            assert kept.add(name, str(number)) == model.get(name)
            model.setdefault(name, str(number))
        assert list(kept) == sorted(model)
        assert all(name in kept for name in model)
        assert "absent name" not in kept
        kept.close()
        spill.close()
        assert os.listdir(folder) == []


def test_a_long_walk_goes_on_while_other_maps_come_and_go(tmp_path):
    spill = SpillDatabase(str(tmp_path))
    walked = Names(spill, b"walked", in_memory=10)
    wanted = [f"{number:05}" for number in range(25_000)]
    for name in wanted:
        walked.add(name)
    seen = []
    for name in walked:
        seen.append(name)
        if len(seen) % 9_000 == 0:
            other = Names(spill, b"other", in_memory=10)
            for number in range(30):
                other.add(str(number))
            other.close()
            assert list(spill.keys(b"other\0")) == []
    assert seen == wanted
    spill.close()


def test_a_disk_without_room_is_told_with_its_place(tmp_path):
    with small_disk(tmp_path / "small", size_mb=1) as disk:
        spill = SpillDatabase(str(disk.path))
        with pytest.raises(StorageError, match=r"small' cannot take .* free some space"):
            spill.put((b"%d" % number, bytes(10_000)) for number in range(10_000))
        spill.close()
