"""The door: a folder of ready-made batch files in, their results out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from typing import Literal

from ...core.clock import Clock, SystemClock
from ...core.short_traces import short_traces
from ...core.threads import start_thread
from ...keys import APIKeyManager, close_unless_default
from ...runs.progress import make_display
from ...runs.session import RunSession, told_early
from ...transport import new_event_loop
from .config import read_plan
from .folder_run import BatchFolderRun
from .places import Places
from .settings import FolderSettings, Names, Pace
from .summary import BatchFolderSummary

_NAME = "BatchFolder"
_LOOK_EVERY_S = 0.1
_LAST_WAIT_S = 5.0


class BatchFolder:
    """Sends a folder of Batch API files, `batch_size` at a time, and puts the results into place.

    For each input a folder with the time of processing holds `<name>_output.jsonl`,
    `<name>_metadata.json` and the input itself, moved there; what failed lies likewise in the error
    location, with `<name>_error.jsonl`. Nested folders are mirrored. A run that was stopped or
    killed goes on where it was when it is started again; no batch is paid for twice.
    """

    def __init__(
        self,
        config_path: str | os.PathLike[str] | None = None,
        input_path: str | os.PathLike[str] | None = None,
        output_path: str | os.PathLike[str] | None = None,
        error_path: str | os.PathLike[str] | None = None,
        *,
        batch_size: int | None = None,
        continuous: bool | None = None,
        pattern: str | None = None,
        endpoint: str | None = None,
        completion_window: str | None = None,
        max_attempts: int | None = None,
        count_tokens: bool | None = None,
        names: Names | None = None,
        state_path: str | os.PathLike[str] | None = None,
        fail_on_error: Literal["end", False] = "end",
        progress: bool = True,
        pace: Pace | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Read the configuration; nothing is looked up or sent yet.

        Args:
            config_path: the keys (config.json), or a file that says all of this (see
                `docs/batch-folder.md`), or the app_config.json of the Azure batch accelerator;
                None: what APP_CONFIG in the environment names, else keys from the environment.
            input_path: where inputs are; a folder, or a URL such as "s3://bucket/in".
            output_path: where results go; likewise.
            error_path: where what failed goes; None: the folder "errors" in `output_path`.
            batch_size: files under way at a time; None: what the file says, else 10.
            continuous: go on looking for new files until stopped with Ctrl-C.
            pattern: names of inputs; None: `*.jsonl`.
            endpoint: URL that all lines must have; None: whatever batches serve.
            completion_window: the time the service may take; None: "24h".
            max_attempts: batches that one input may take when earlier ones expire or leave lines
                unanswered; None: 3.
            count_tokens: count the tokens of all prompts and note them in the metadata.
            names: "accelerator" calls results as the Azure batch accelerator does, see
                docs/batch-folder.md; None: "own".
            state_path: a local folder for what is under way; None: in the output folder, and for a
                URL in the user's state folder.
            fail_on_error: "end" raises FilesFailed once all is done, when files or lines failed;
                False returns the summary all the same.
            progress: show a bar.
            pace: how often things are looked at; None: as for real services.
            clock: None: the system's.

        Raises:
            ConfigError: a setting is missing or wrong; names the file and the field.
        """
        named = None if config_path is None else os.fspath(config_path)
        self._plan = read_plan(named, locals())
        self.settings: FolderSettings = self._plan.settings
        self._clock = clock or SystemClock()
        self._stop_asked = threading.Event()

    def stop(self) -> None:
        """Have `run` end soon and return its summary; from another thread.

        Batches go on at the provider, and the next run collects them.
        """
        self._stop_asked.set()

    @short_traces
    def run(self) -> BatchFolderSummary:
        """Work until every input is done or failed; in continuous mode, until stopped.

        Raises:
            RunStopped: Ctrl-C or SIGTERM; batches go on at the provider, and a rerun collects them.
            RunLocked: another process works with this state.
            FilesFailed: files or lines failed, and all else is done; see `fail_on_error`.
            NoUsableKey: files are left because no key can be used; `summary` is a fact.
            StorageError: the disk or a store refused.
            ConfigError: a place cannot be used.
        """
        keys = APIKeyManager(settings=self.settings.keys, clock=self._clock)
        session = RunSession(
            self.settings.state_folder, keys, clock=self._clock, prints=self.settings.progress
        )
        try:
            with told_early(BatchFolderSummary, prints=self.settings.progress), session:
                session.begin("")
                places = self._plan.open_places()
                try:
                    summary = self._run(places, session)
                finally:
                    places.close()
                session.end(summary)
            session.hand_over(summary)
            if not summary.stopped:
                summary.check_end(self.settings.fail_on_error)
            return summary
        finally:
            close_unless_default(keys)

    def _run(self, places: Places, session: RunSession) -> BatchFolderSummary:
        is_wanted = self.settings.progress
        display = make_display(_NAME, clock=self._clock, every_s=60.0, is_wanted=is_wanted)
        run = BatchFolderRun(self.settings, places, session, display)
        thread = _RunThread(run)
        try:
            with session.heeding(lambda: run.summary(stopped=session.stopped)):
                thread.start()
                while thread.is_at_work(_LOOK_EVERY_S):
                    session.look()
                    if session.stop.reason is not None or self._stop_asked.is_set():
                        thread.stop()
        finally:
            thread.abandon()
            display.close()
        if thread.error is not None:
            session.stop.close(thread.error)
        is_told = self._stop_asked.is_set() and session.stop.reason is None
        summary = run.summary(stopped="told to" if is_told else session.stopped)
        if session.stop.reason is None:
            session.say(str(summary))
        return summary


class _RunThread:
    """Carries a run on a thread with an event loop of its own, so that notebooks work."""

    def __init__(self, run: BatchFolderRun) -> None:
        self._work = run
        self._loop = new_event_loop()
        #: What ended the work before it was done; None: nothing.
        self.error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = start_thread(self._run, name="batch-folder")

    def is_at_work(self, wait_s: float) -> bool:
        """Wait a little, and return whether the work goes on."""
        assert self._thread is not None
        self._thread.join(wait_s)
        return self._thread.is_alive()

    def stop(self) -> None:
        """Have the work end in good order."""
        self._tell(self._work.stop.ask)

    def abandon(self) -> None:
        """End the work at once, if it still goes on."""
        if self._thread is not None and self._thread.is_alive():
            self._tell(self._work.drop)
            self._thread.join(_LAST_WAIT_S)

    def _tell(self, act: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop came to its end meanwhile
            self._loop.call_soon_threadsafe(act)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._work.work())
        except BaseException as exc:  # noqa: BLE001 - raised again by the one who waits
            self.error = exc
        finally:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()
