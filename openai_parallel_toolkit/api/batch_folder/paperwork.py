"""The work on local files and stores that an input needs: checking, sorting, putting into place."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from urllib.parse import quote

from ...batch.service.check import AZURE_URLS, OPENAI_URLS, check_file
from ...core.errors import StorageError
from ...core.records import Lease
from ...costs.prices import PriceBook
from ...costs.tokens import num_tokens_from_string
from ...files.stores import Store
from ...transport.target import is_azure
from .job import Figures, Job, Stage
from .metadata import error_lines, metadata_of
from .places import Places
from .results import RoundFiles, sort_results, with_doubts, write_rest, write_results
from .settings import FolderSettings
from .shelf import Shelf, write_whole


class Paperwork:
    """Blocking, and used from threads: one job by one thread at a time."""

    def __init__(
        self,
        places: Places,
        shelf: Shelf,
        settings: FolderSettings,
        *,
        prices: PriceBook,
        wall_s: Callable[[], float],
    ) -> None:
        self._places = places
        self._shelf = shelf
        self._settings = settings
        self._prices = prices
        self._wall_s = wall_s
        self._urls = _urls_of(settings)

    # -- names ---------------------------------------------------------------------------------

    def output_path(self, job: Job) -> str:
        """Where the answers of the last round lie."""
        return self._round_files(job, len(job.rounds)).output

    def error_path(self, job: Job) -> str:
        """Where the errors of the last round lie."""
        return self._round_files(job, len(job.rounds)).error

    def lines_path(self, job: Job) -> str:
        """Where the lines of the last round lie; an input that is not there is brought."""
        return self._original(job) if len(job.rounds) == 1 else self._lines(job, len(job.rounds))

    def import_url(self, job: Job, lease: Lease) -> str | None:
        """Where the service can read an input by itself; None: it has to be sent."""
        base = self._settings.import_base
        is_asked = base and len(job.rounds) == 1 and not job.is_import_refused
        return f"{base.rstrip('/')}/{quote(job.path)}" if is_asked and is_azure(lease) else None

    # -- steps ---------------------------------------------------------------------------------

    def check(self, job: Job) -> Job:
        """Bring an input and look at every line of it."""
        try:
            job = replace(job, signature=self._fetch(job))
        except FileNotFoundError:  # taken away again
            self._shelf.forget(job)
            return job.at(Stage.GONE)
        count = num_tokens_from_string if self._settings.count_tokens else None
        with open(self._lines(job, 1), "rb") as file:
            found = check_file(file, urls=self._urls, count=count)
        return replace(
            job,
            stage=Stage.READY if found.is_good else Stage.SETTLED,
            folder=self._free_folder(job),
            lines=found.lines,
            size_bytes=found.size_bytes,
            url=found.url,
            model=found.model,
            prompt_tokens=found.prompt_tokens,
            findings=found.findings,
            findings_count=found.findings_count,
        )

    def judge(self, job: Job) -> Job:
        """Sort the results; what is still open is made ready for another round, if one is left."""
        rounds = [self._round_files(job, number + 1) for number in range(len(job.rounds))]
        if job.findings and not any(os.path.exists(path) for path in _results_of(rounds)):
            if any(files.is_silence_doubtful for files in rounds):
                self._original(job)  # so that it is there
            figures = with_doubts(Figures(), rounds, self._prices)
            return replace(job, figures=figures, stage=Stage.SETTLED)
        original = self._original(job)
        may_again = not (job.is_cancelled or job.findings)
        if may_again and len(rounds) < self._settings.max_attempts:
            rest = self._lines(job, len(rounds) + 1)
            if write_rest(original, rest, sort_results(rounds)):
                return job.at(Stage.READY)
        figures = write_results(
            original,
            rounds,
            output_path=self._shelf.place(job, "output.jsonl"),
            error_path=self._shelf.place(job, "error.jsonl"),
            prices=self._prices,
        )
        figures = with_doubts(figures, rounds, self._prices)
        return replace(job, figures=figures, stage=Stage.SETTLED)

    def publish(self, job: Job) -> None:
        """Put results, metadata and input into their places; doing it again does no harm."""
        output, error = (self._shelf.place(job, name) for name in ("output.jsonl", "error.jsonl"))
        if job.findings and not os.path.exists(error):
            write_whole(error, error_lines(job))
        if os.path.exists(output):
            self._publish(job, self._places.output, output, "output")
        if os.path.exists(error):
            self._publish(job, self._places.error, error, "error")

    def take_input_away(self, job: Job) -> None:
        """Delete the input, now that it lies with its results; a new one of its name stays."""
        try:
            seen = self._places.input.stat(job.path)
        except FileNotFoundError:
            return
        if seen.signature == job.signature:
            self._places.input.delete(job.path)

    # ------------------------------------------------------------------------------------------

    def _publish(self, job: Job, store: Store, result: str, kind: str) -> None:
        name = posixpath.splitext(posixpath.basename(job.path))[0]
        metadata = self._shelf.place(job, "metadata.json")
        told = metadata_of(
            job, input_url=self._places.input.url(job.path), ended_wall_s=self._wall_s()
        )
        write_whole(metadata, told)
        store.publish(result, f"{job.folder}/{name}_{kind}.jsonl")
        store.publish(metadata, f"{job.folder}/{name}_metadata.json")
        store.publish(self._original(job), f"{job.folder}/{posixpath.basename(job.path)}")

    def _original(self, job: Job) -> str:
        path = self._lines(job, 1)
        if not os.path.exists(path) and self._fetch(job) != job.signature:
            os.unlink(path)
            told = f"{self._places.input.url(job.path)!r} was changed while it was worked on"
            raise StorageError(f"{told}; put back what it was, then run again.", path=job.path)
        return path

    def _fetch(self, job: Job) -> str:
        path = self._lines(job, 1)
        signature = self._places.input.fetch(job.path, path).signature
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        return signature

    def _lines(self, job: Job, number: int) -> str:
        return self._shelf.place(job, f"input-{number}.jsonl")

    def _round_files(self, job: Job, number: int) -> RoundFiles:
        batch = job.rounds[number - 1]
        return RoundFiles(
            input=self._lines(job, number),
            output=self._shelf.place(job, f"output-{number}.jsonl"),
            error=self._shelf.place(job, f"error-{number}.jsonl"),
            is_silence_doubtful=batch.batch_id is not None and batch.status != "failed",
        )

    def _free_folder(self, job: Job) -> str:
        """Return a folder name with the time, which no earlier input of this name has taken."""
        taken = datetime.fromtimestamp(job.taken_wall_s, timezone.utc)
        parent, base = posixpath.split(posixpath.splitext(job.path)[0])
        stamped = posixpath.join(parent, f"{base}_{taken:%Y-%m-%dT%H-%M-%SZ}")
        folder, number = stamped, 1
        while any(
            store.exists(f"{folder}/{base}_metadata.json")
            for store in (self._places.output, self._places.error)
        ):
            number += 1
            folder = f"{stamped}-{number}"
        return folder


def _results_of(rounds: list[RoundFiles]) -> list[str]:
    return [path for files in rounds for path in (files.output, files.error)]


def _urls_of(settings: FolderSettings) -> frozenset[str]:
    known = OPENAI_URLS
    if any(key.api_version for key in settings.keys.api_keys):
        known = AZURE_URLS
    if not settings.endpoint:
        return known
    endpoint = settings.endpoint.removeprefix("/v1")
    # One that is not known here may be so to another provider.
    return frozenset(url for url in known if url.removeprefix("/v1") == endpoint) or frozenset(
        {settings.endpoint}
    )
