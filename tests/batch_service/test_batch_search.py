"""Batches that may have been made are found by their token or their file, even if listed late."""

import asyncio
import math
from dataclasses import replace

import pytest

from openai_parallel_toolkit.batch.options import Patience, Waiting
from openai_parallel_toolkit.batch.service import MARK
from openai_parallel_toolkit.batch.service.objects import batch_from
from openai_parallel_toolkit.batch.submit import find_made
from openai_parallel_toolkit.core.clock import FakeClock
from openai_parallel_toolkit.journal.batch_rows import BatchRecord, BatchStage

DAY_S = 86_400


def remote(id, *, file="file_1", token=None, status="in_progress", created=10 * DAY_S):
    metadata = {} if token is None else {MARK: token}
    fields = {"id": id, "status": status, "input_file_id": file, "metadata": metadata}
    return batch_from({**fields, "created_at": created}, str)


class Service:
    """Lists batches, when it does, and how many of them were looked at."""

    def __init__(self, *batches, listed_after_s=0.0):
        self._batches = batches
        self._listed_after_s = listed_after_s
        self.clock = FakeClock(now_s=0.0)
        self.looked_at = 0

    async def batches(self):
        for batch in self._batches if self.clock.now_s() >= self._listed_after_s else ():
            self.looked_at += 1
            yield batch


class Store:
    """Notes how far a batch has come."""

    def move_on(self, batch, stage, **facts):
        return replace(batch, stage=stage, **facts)


def find(service, *, file_id="file_1", within_s=0.0):
    """Look for a batch that was perhaps made; return what the provider calls it, or None."""
    batch = BatchRecord(
        id=1,
        run_id=1,
        key_name="key-1",
        fingerprint="f",
        path="/chat/completions",
        model="gpt-4o",
        token="t",
        lines=1,
        tokens=1,
        stage=BatchStage.UPLOADED,
        input_file_id=file_id,
        formed_wall_s=10 * DAY_S,
    )

    async def pause(seconds):
        service.clock.advance(seconds)

    patience = Patience(listed_within_s=within_s)
    waiting = Waiting(patience=patience, clock=service.clock, pause=pause)
    made = asyncio.run(find_made(Store(), batch, service, waiting))
    return None if made is None else made.remote_id


def found(*batches, file_id="file_1"):
    return find(Service(*batches), file_id=file_id)


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
    assert find(service, file_id=None) is None
    assert service.looked_at == 1


@pytest.mark.parametrize(
    ("listed_after_s", "within_s", "is_found"),
    [(0, 0, True), (1, 0, False), (9, 10, True), (10, 10, True), (11, 10, False)],
)
def test_a_batch_is_looked_for_until_it_would_be_listed(listed_after_s, within_s, is_found):
    service = Service(remote("ours"), listed_after_s=listed_after_s)
    assert (find(service, within_s=within_s) is not None) == is_found
    assert service.clock.now_s() <= within_s


def test_a_batch_without_a_file_is_looked_for_once():
    service = Service(remote("ours", token="t"), listed_after_s=math.inf)
    assert find(service, file_id=None, within_s=10.0) is None
    assert service.clock.now_s() == 0.0
