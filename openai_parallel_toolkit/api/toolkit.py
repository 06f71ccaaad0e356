"""ParallelToolkit: a folder of files in, a folder of outputs out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import IO, Any, Literal

from ..batch import BatchOptions, Finish
from ..core.settings import options_of
from ..core.short_traces import short_traces
from ..keys import APIKeyManager, close_unless_default
from ..runs.estimate import Estimate, estimate_folder
from ..runs.finish import telling_the_end
from ..runs.hooks import Hooks
from ..runs.options import Engine, FailOnError, Mode, OnChangedInput, OutputNames, RunOptions
from ..runs.run import run_folder
from ..runs.summary import RunSummary
from ..transport import Transport


class ParallelToolkit:
    """Runs three hooks over every file of a folder, in parallel, over many keys.

    Subclass it, write `process_input`, `process_data` and `process_output`, and call `run`. Each
    hook sees one file; requests made inside (`request_openai_api` and its kin) are paid once: what
    was answered is kept, so a run that was stopped, killed or crashed goes on where it was when it
    is started again. Files whose output is there are skipped.
    """

    def __init__(
        self,
        config_path: str | os.PathLike[str] | None,
        input_path: str | os.PathLike[str],
        output_path: str | os.PathLike[str],
        file_count: int | None = None,
        num_threads: int | Literal["auto"] | None = None,
        name: str = "ParallelToolkit Progress",
        *,
        key_manager: APIKeyManager | None = None,
        transport: Transport | None = None,
        pattern: str | Sequence[str] | None = None,
        exclude: str | Sequence[str] = (),
        recursive: bool = True,
        binary: bool = False,
        encoding: str = "utf-8",
        output_names: OutputNames = "stem",
        engine: Engine = "threads",
        workers: int | None = None,
        mode: Mode = "live",
        batch: BatchOptions | None = None,
        max_batch_rounds: int = 10,
        finish: Finish = "batch",
        max_cost: Decimal | float | str | None = None,
        fail_on_error: FailOnError = "end",
        max_file_attempts: int = 3,
        retry_failed: bool = False,
        force: bool = False,
        on_changed_input: OnChangedInput = "skip",
        check_prompts: bool = True,
        dry_run: bool = False,
        progress: bool = True,
        grace_s: float = 30.0,
        hook_timeout_s: float | None = None,
        deadline_s: float = 1800.0,
        request_timeout_s: float = 600.0,
        limit_patience_s: float = 900.0,
        max_retries: int = 5,
        max_unknown: int = 1,
        state_path: str | os.PathLike[str] | None = None,
        keep_requests: bool = True,
        log_file: str | os.PathLike[str] | None = None,
    ) -> None:
        """Note what is to be done; nothing is read or sent before `run`.

        Args:
            config_path: a config.json with the keys; None: keys from the environment.
            input_path: a folder, walked recursively, or one file; or the URL of either in an object
                store (s3://, abfs://, gs://).
            output_path: the folder for outputs, which mirrors the input's, or its URL; with one
                input file it may name the output file.
            file_count: files to process in this run, skipped ones not counted; None: all.
            num_threads: files under way at a time; None: ten times the number of CPUs; "auto":
                so many at first, then more while keys have room, up to 512.
            name: stands before the progress bar.
            key_manager: the keys to use instead of those in the config.
            transport: what sends; None: HTTP. Tests of your own hooks pass a FakeTransport.
            pattern: globs of which an input must match one; None: all files.
            exclude: globs of inputs and folders to leave out.
            recursive: whether to enter folders inside the input folder.
            binary: give process_input a binary file.
            encoding: of the text file that process_input gets.
            output_names: "stem" names the outputs of a.txt "a", "whole" names them "a.txt".
            engine: "threads" runs hooks on threads of this process; "processes" in processes of
                their own, for hooks that need more CPU than one core has: this process still sends
                all they ask, under its keys, and keeps the answers.
            workers: how many processes; each has `num_threads` files under way. None: the CPUs.
            mode: "live" sends now; "batch" collects requests for the Batch API, at half price and
                within a day: hooks are run again from the start when answers have come.
            batch: sizes and times of batches; None: those of BatchOptions.
            max_batch_rounds: how often one file may wait for answers, in batch mode.
            finish: in batch mode, "live" sends now what a batch came back without, and what files
                ask for after `max_batch_rounds`; "batch" sends it in further batches.
            max_cost: USD for all runs of this output folder together: a request is not sent
                unless the most that it can cost is left; None: no limit.
            fail_on_error: "end" works on all files, then raises FilesFailed when some failed or are
                put aside; False returns the summary instead; True stops at the first failure, a
                share or a count when more files failed.
            max_file_attempts: runs in which a file may fail before it is put aside.
            retry_failed: try files again that were put aside. Answers that were cut, empty or
                failed are asked for again, also where `request_reply` or `allow_incomplete` took
                the kept one; all other answers are reused.
            force: work on every file, whatever exists. Answers that were paid for are reused; those
                that were cut, empty or failed are asked for again, as in every later run.
            on_changed_input: "redo" works again on finished files whose input was changed since;
                "skip" tells how many there are.
            check_prompts: before the run, try process_input and process_data on a few finished
                files, without sending, and tell when they would ask something else now.
            dry_run: run process_input and process_data without sending; tells what would be.
            progress: draw a bar and print the summary.
            grace_s: seconds that requests in flight get after Ctrl-C.
            hook_timeout_s: seconds of a hook's own work, calls excluded, after which the run goes
                on without it; None: as long as it likes.
            deadline_s: seconds for one call with all its retries, waiting for a key excluded.
            request_timeout_s: seconds for one attempt.
            limit_patience_s: seconds for a key that answers nothing but limits and does not say how
                long; then it is dropped for this run.
            max_retries: re-sends of a call after a server error.
            max_unknown: re-sends of a call whose answer was lost and may have been billed.
            state_path: a local folder for the journal; None: inside the output folder, or in the
                user's state folder when outputs go to a URL.
            keep_requests: keep what is asked beside the answers, for `view`, `show` and `export`;
                False keeps a hash of it.
            log_file: where to append what the toolkit logs, with start, end and totals of each run;
                None: nowhere.

        Raises:
            ConfigError: a setting has an impossible value.
            UsageError: a hook is missing.
        """
        self.options = options_of(RunOptions, locals())
        self.config_path = config_path
        self.input_path, self.output_path = self.options.input_path, self.options.output_path
        self.file_count, self.num_threads = self.options.file_count, self.options.num_threads
        self.name = name
        self._key_manager = key_manager
        self._transport = transport
        self._hooks = self._own_hooks()

    def _own_hooks(self) -> Hooks:
        options = self.options
        return Hooks(self, ParallelToolkit, binary=options.binary, encoding=options.encoding)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out keys and what sends: they stay in their process."""
        stays = {"config_path": None, "_key_manager": None, "_transport": None}
        return {name: v for name, v in {**self.__dict__, **stays}.items() if name != "_hooks"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._hooks = self._own_hooks()

    def process_input(self, file: IO[Any]) -> Any:
        """Read one input: gets the open file, returns what process_data is to see."""
        raise NotImplementedError

    def process_data(self, data: Any) -> Any:
        """Work on one file's data; may ask models, and may be `async def`."""
        raise NotImplementedError

    def process_output(self, data: Any, output_file_without_ext: str) -> Any:
        """Write one file's output to `output_file_without_ext` plus an extension of your own."""
        raise NotImplementedError

    def finished(self, summary: RunSummary) -> None:
        """Override it to hear once that `run` is over, also after failures or an early stop.

        What it raises is told in a warning and changes nothing about how `run` ends. It is not
        called where nothing has begun: a mistake in a setting, another run that is on.
        """

    @short_traces
    def run(self) -> RunSummary:
        """Process every file that is due and return what it came to.

        Raises:
            ConfigError, ScanError: something must be mended before anything is paid.
            RunLocked: another process works on this output folder.
            NoUsableKey: the last key was dropped; the rest is done by a later run.
            BudgetExceeded: max_cost is spent; the rest is done by a later run that may spend more.
            StorageError: the disk refused; nothing paid for is lost.
            FilesFailed: files failed, more than fail_on_error allows; `summary` tells how many.
            RunStopped: Ctrl-C or a signal; `summary` tells how far it came.
        """
        with self._keys() as keys, telling_the_end(self.finished) as end:
            end.summary = run_folder(self.options, self._hooks, keys, transport=self._transport)
        return end.summary

    @short_traces
    def estimate(self, sample: float | None = None, *, tokens_only: bool = False) -> Estimate:
        """Work on a few of the due files, and forecast what all of them take.

        The files of the sample are done then, and not paid for again.

        Args:
            sample: how many, or a share below 1; None: one in a hundred, at least 5, at most 100.
            tokens_only: send nothing, and count the prompts of each file's first calls.

        Raises:
            FilesFailed: no file of the sample could be finished.
            ToolkitError: as `run` does.
        """
        with self._keys() as keys:
            return estimate_folder(
                self.options,
                self._hooks,
                keys,
                sample=sample,
                tokens_only=tokens_only,
                transport=self._transport,
            )

    @contextmanager
    def _keys(self) -> Iterator[APIKeyManager]:
        keys = self._key_manager or APIKeyManager(config_path=self.config_path)
        try:
            yield keys
        finally:
            if self._key_manager is None:
                close_unless_default(keys)
