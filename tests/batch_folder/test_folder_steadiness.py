"""A run outlives what passes: a store that stumbles, a disk that is full, a second Ctrl-C."""

from __future__ import annotations

import asyncio
import errno
import logging
from dataclasses import replace

import pytest
from folder_fixture import QUICK

from openai_parallel_toolkit import NoUsableKey, StorageError
from openai_parallel_toolkit.api.batch_folder.folder_run import BatchFolderRun
from openai_parallel_toolkit.api.batch_folder.places import Places
from openai_parallel_toolkit.core.clock import SystemClock
from openai_parallel_toolkit.files.stores import LocalStore
from openai_parallel_toolkit.keys import APIKeyManager
from openai_parallel_toolkit.runs.progress import make_display
from openai_parallel_toolkit.runs.session import RunSession
from openai_parallel_toolkit.simulator import Fault


class Shaky(LocalStore):
    """A store whose first uses fail."""

    def __init__(self, root, *, path, **fails):
        super().__init__(str(root))
        self._path = path
        self._fails = fails

    def _stumble(self, method):
        if self._fails.get(method, 0) > 0:
            self._fails[method] -= 1
            raise StorageError(f"{method} does not work", errno=errno.EIO, path=self._path)

    def list(self, *, recursive=True):
        self._stumble("list")
        return super().list(recursive=recursive)

    def fetch(self, path, local_path):
        self._stumble("fetch")
        return super().fetch(path, local_path)

    def publish(self, local_path, path):
        self._stumble("publish")
        super().publish(local_path, path)


def work(fixture, *, ends_when=None, **stores):
    """Run a folder over the given stores until it ends, or what it waits for has come."""
    settings = fixture.folder(continuous=ends_when is not None).settings
    names = {"input": fixture.input, "output": fixture.output, "error": fixture.error}
    places = {name: stores.get(name) or LocalStore(str(root)) for name, root in names.items()}
    keys = APIKeyManager(settings=settings.keys)

    async def go(session):
        run = BatchFolderRun(
            settings,
            Places(**places),
            session,
            make_display("test", clock=SystemClock(), is_wanted=False),
        )
        task = asyncio.ensure_future(run.work())
        while ends_when and not (task.done() or ends_when(run.summary())):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        if ends_when:
            run.stop.ask()
        await task
        return run.summary()

    try:
        (fixture.output / ".openai_parallel_toolkit").mkdir(parents=True, exist_ok=True)
        with RunSession(settings.state_folder, keys, clock=SystemClock()) as session:
            session.begin("")
            return asyncio.run(go(session))
    finally:
        keys.close()


def test_in_continuous_mode_a_store_that_stumbles_is_told_once_and_tried_again(
    fixture, sim, caplog
):
    fixture.put("a.jsonl")
    far = {"path": "s3://far/away"}
    stores = {
        "input": Shaky(fixture.input, list=2, fetch=1, **far),
        "output": Shaky(fixture.output, publish=2, **far),
    }
    with caplog.at_level(logging.WARNING):
        summary = work(fixture, ends_when=lambda told: told.done == 1, **stores)
    assert (summary.done, summary.left) == (1, 0)
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"{name} does not work" for name in ("list", "fetch", "publish")]
    assert len(sim.batches.batches()) == 1


def test_without_continuous_mode_the_file_is_left_for_the_next_run(fixture, sim):
    fixture.put("a.jsonl")
    fixture.put("b.jsonl")
    output = Shaky(fixture.output, publish=1, path="s3://far/away")
    summary = work(fixture, output=output)
    assert (summary.done, summary.left) == (1, 1)
    assert summary.reasons == ("publish does not work",)
    assert fixture.run().done == 1
    assert len(sim.batches.batches()) == 2


def test_a_broken_disk_ends_the_run_and_the_next_one_goes_on(fixture, sim):
    fixture.put("a.jsonl")
    output = Shaky(fixture.output, publish=9, path=str(fixture.output))
    with pytest.raises(StorageError, match="publish does not work"):
        work(fixture, output=output, ends_when=lambda _: False)
    assert fixture.run().done == 1
    assert len(sim.batches.batches()) == 1


def test_continuous_mode_ends_when_no_key_is_left(fixture, sim):
    fixture.put("a.jsonl")
    sim.script.replace([Fault("insufficient_quota", path="/batches")])
    with pytest.raises(NoUsableKey, match="insufficient_quota"):
        work(fixture, ends_when=lambda _: False)
    assert fixture.waiting() == ["a.jsonl"]


def test_a_batch_is_waited_for_while_its_provider_cannot_be_asked(fixture, sim):
    fixture.put("a.jsonl")
    path = f"{1:024x}"  # what the address of the first batch ends with
    sim.script.replace([Fault("503", method="GET", path=path, times=5)])
    summary = fixture.run(pace=replace(QUICK, patience_s=0.0))
    assert (summary.done, summary.left) == (1, 0)
