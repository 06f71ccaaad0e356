"""A batch is waited for as long as it takes, also while its provider cannot be reached."""

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
from store_fixture import MODEL, PATH, ask, form, hash_of, sent, suspend

from openai_parallel_toolkit import APIKeyManager
from openai_parallel_toolkit.batch.batch_budget import BatchBudget
from openai_parallel_toolkit.batch.collect import CallLines
from openai_parallel_toolkit.batch.options import Patience, Waiting
from openai_parallel_toolkit.batch.service import BatchIssue, RemoteBatch, ServiceRefusal
from openai_parallel_toolkit.batch.tracker import BatchTracker, OutOfReach
from openai_parallel_toolkit.calls.attempts import Policy
from openai_parallel_toolkit.calls.run_context import RunContext
from openai_parallel_toolkit.core.clock import SystemClock
from openai_parallel_toolkit.core.records import Need, Outcome, OutcomeKind
from openai_parallel_toolkit.costs.prices import PriceBook
from openai_parallel_toolkit.journal import Journal
from openai_parallel_toolkit.journal.batch_rows import BatchStage
from openai_parallel_toolkit.transport import SendFault

GONE = SendFault("unsent", "connect", "cannot reach it")
OVERLOADED = ServiceRefusal(Outcome(kind=OutcomeKind.BUSY, status=503, code="http_503"))
REFUSED = ServiceRefusal(Outcome(kind=OutcomeKind.KEY_DEAD, status=401, code="invalid_api_key"))
EXPIRED = RemoteBatch(
    id="batch_1",
    status="expired",
    endpoint="/v1/chat/completions",
    input_file_id="file_1",
    output_file_id=None,
    error_file_id=None,
    total=1,
    completed=0,
    failed=0,
    metadata={},
    created_wall_s=0.0,
    ended_wall_s=1.0,
    errors=(),
)


class Provider:
    """Answers as it is told, then that the batch is over."""

    def __init__(self, lease, *troubles, remote=EXPIRED):
        self.lease = lease
        self.remote = remote
        self.troubles = list(troubles)
        self.deleted = []

    async def batch(self, batch_id):
        assert batch_id == "batch_1"
        if self.troubles:
            raise self.troubles.pop(0)
        return self.remote

    async def download(self, file_id, path):
        Path(path).write_bytes(b"")  # noqa: ASYNC240 - it is small
        return 0

    async def whole_batch(self, remote):
        return remote

    def waits_until(self, trouble, seconds):
        return f"{trouble}"

    async def delete(self, file_id):
        self.deleted.append(file_id)


@pytest.fixture
def journal(tmp_path):
    journal = Journal.open(str(tmp_path / "state"))
    journal.begin_run("v1")
    journal.batches.begin()
    yield journal
    journal.close()


@pytest.fixture
def keys():
    manager = APIKeyManager(["sk-1234"])
    yield manager
    manager.close()


def follow(journal, keys, tmp_path, *troubles, remote=EXPIRED, lines=1):
    """Follow a batch, and return its provider and what the journal still has of it."""
    store, clock = journal.batches, SystemClock()
    file_id = journal.file("a.txt").id
    suspend(store, file_id, *[ask(file_id, str(n)) for n in range(lines)])
    batch = form(store, store.lines(PATH, MODEL, 1000), key="key-1")
    store.move_on(batch, BatchStage.CREATED, input_file_id="file_1", remote_id="batch_1")
    (batch,) = store.open_batches()
    context = RunContext(journal=journal, prices=PriceBook({}), policy=Policy(max_retries=3))
    waiting = Waiting(patience=Patience(first_poll_s=0.0, longest_poll_s=0.0), clock=clock)
    lines = CallLines(store, context, BatchBudget(None), str(tmp_path), clock, str)
    tracker = BatchTracker(journal, keys, lines, window="24h", waiting=waiting)
    (lease,) = keys.unmetered_leases(batch.model)
    provider = Provider(lease, *troubles, remote=remote)
    tracker.enter(batch)

    async def see_through():
        with contextlib.suppress(OutOfReach):
            ended = await tracker.see_through(batch, provider, is_doubtful=True)
            await tracker.tidy(ended, provider)

    asyncio.run(see_through())
    assert tracker.words() == ""
    return provider, sent(store, batch)


def test_a_provider_that_cannot_be_reached_for_a_long_time_is_asked_until_it_can(
    journal, keys, tmp_path
):
    provider, left = follow(journal, keys, tmp_path, *[GONE, OVERLOADED] * 5)
    assert left == []
    assert provider.deleted == ["file_1"]
    assert journal.batches.open_batches() == []
    assert journal.batches.batch_counts().queued == 1  # the line goes again


def test_a_batch_of_a_key_that_is_refused_is_left_for_a_later_run(journal, keys, tmp_path):
    provider, left = follow(journal, keys, tmp_path, GONE, REFUSED)
    assert len(left) == 1
    assert provider.deleted == []
    assert len(journal.batches.open_batches()) == 1
    assert list(keys.dropped()) == ["key-1"]


def test_what_a_lease_for_batches_says_is_not_counted_as_lent(keys):
    (lease,) = keys.unmetered_leases("m")
    assert lease.need == Need(model="m", tokens=0)
    assert keys.counts().in_flight == 0


def test_the_line_that_a_failed_batch_is_blamed_on_is_found_beyond_the_first_page(
    journal, keys, tmp_path
):
    issues = (BatchIssue(code="invalid_json_line", message="no", line=250),)
    failed = replace(EXPIRED, status="failed", total=0, errors=issues)
    follow(journal, keys, tmp_path, remote=failed, lines=260)
    refusals = journal.batches.refusals(journal.file("a.txt").id)
    assert [hash for hash, _, _ in refusals] == [hash_of("249")]
    assert journal.batches.batch_counts().queued == 259


def test_all_files_of_a_batch_are_deleted_when_its_answers_are_kept(journal, keys, tmp_path):
    files = {"output_file_id": "file_2", "error_file_id": "file_3"}
    remote = replace(EXPIRED, status="completed", completed=1, failed=1, **files)
    provider, _ = follow(journal, keys, tmp_path, remote=remote)
    assert provider.deleted == ["file_1", "file_2", "file_3"]
