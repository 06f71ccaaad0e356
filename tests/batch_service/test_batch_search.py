"""Batches that may have been made are found by their token or their file, even if listed late."""

import asyncio

import pytest

from openai_parallel_toolkit.batch.service import MARK, find_batch, look_until_listed
from openai_parallel_toolkit.batch.service.objects import batch_from

DAY_S = 86_400


def remote(id, *, file="file_1", token=None, status="in_progress", created=10 * DAY_S):
    metadata = {} if token is None else {MARK: token}
    fields = {"id": id, "status": status, "input_file_id": file, "metadata": metadata}
    return batch_from({**fields, "created_at": created})


class Service:
    """Lists batches, and how many of them were looked at."""

    def __init__(self, *batches):
        self._batches = batches
        self.looked_at = 0

    async def batches(self):
        for batch in self._batches:
            self.looked_at += 1
            yield batch


def found(*batches, file_id="file_1"):
    service = Service(*batches)
    batch = asyncio.run(find_batch(service, "t", file_id, since_wall_s=10 * DAY_S))
    return None if batch is None else batch.id


def test_a_batch_is_known_by_its_token():
    assert found(remote("other", token="x"), remote("ours", token="t", file="file_2")) == "ours"


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (remote("ours"), "ours"),
        (remote("another file's", file="file_2"), None),
        (remote("another token's", token="x"), None),
        (remote("refused", status="failed"), None),
    ],
    ids=lambda value: value.id if hasattr(value, "id") else "",
)
def test_where_no_metadata_is_kept_a_batch_is_known_by_its_file(batch, expected):
    assert found(batch) == expected


def test_without_a_file_nothing_but_the_token_counts():
    assert found(remote("nameless", file=""), file_id=None) is None


def test_what_is_much_older_is_not_looked_through():
    service = Service(remote("old", created=8 * DAY_S), remote("older", token="t"))
    assert asyncio.run(find_batch(service, "t", None, since_wall_s=10 * DAY_S)) is None
    assert service.looked_at == 1


@pytest.mark.parametrize(
    ("listed_after_s", "within_s", "is_found"),
    [(0, 0, True), (1, 0, False), (9, 10, True), (10, 10, True), (11, 10, False)],
)
def test_a_batch_is_looked_for_until_it_would_be_listed(listed_after_s, within_s, is_found):
    now_s = 0.0

    async def look():
        return remote("ours") if now_s >= listed_after_s else None

    async def pause(seconds):
        nonlocal now_s
        now_s += seconds

    batch = asyncio.run(look_until_listed(look, within_s=within_s, pause=pause))
    assert (batch is not None) == is_found
    assert now_s <= within_s
