"""The door of a folder's batch files: the work on local files and stores that an input needs."""

from __future__ import annotations

import asyncio
import os
import posixpath
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from urllib.parse import quote

from ...batch.judgement import OF_THE_KEY, BatchEnd, judge_line, line_cost_usd
from ...batch.service import ResultLine
from ...batch.service.check import AZURE_URLS, OPENAI_URLS, Finding, check_file
from ...batch.submit import Door
from ...batch.surplus import Surplus
from ...batch.tracker import VANISHED
from ...calls.refusals import Clean
from ...core.errors import StorageError
from ...core.file_kinds import exists, is_folder
from ...core.own_files import private_folder
from ...core.records import Lease, Outcome, OutcomeKind, Reply
from ...costs.prices import PriceBook
from ...costs.tokens import num_tokens_from_string
from ...files.stores import Store
from ...journal.batch_rows import BatchRecord
from ...transport.target import is_azure
from .job import Job, JobStage, LineFigures
from .metadata import error_lines, metadata_of
from .names import ResultNames, result_names
from .places import Places
from .results import (
    RoundFiles,
    Sorted,
    results_of,
    sort_results,
    with_doubts,
    write_refused,
    write_rest,
    write_results,
    write_whole,
)
from .settings import FolderSettings

_METADATA_CHARS = 512


@dataclass(eq=False)
class JobFiles(Door):
    """Blocking, and used from threads: one job by one thread at a time.

    <state folder>/batch_folder/<token of a job>/     its lines and results, until they are in place
    """

    places: Places
    settings: FolderSettings
    prices: PriceBook
    wall_s: Callable[[], float]
    clean: Clean
    #: The jobs under way, by their ids.
    jobs: dict[int | None, Job] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._urls = _urls_of(self.settings)
        self._root = private_folder(work_folder(self.settings.state_folder))

    # -- as the door of batches ----------------------------------------------------------------

    def lines_path(self, batch: BatchRecord, lease: Lease) -> str:
        del lease
        job = self.jobs[batch.job_id]
        return self._lines(job, job.lines_file)

    def import_url(self, batch: BatchRecord, lease: Lease) -> str | None:
        job, base = self.jobs[batch.job_id], self.settings.import_base
        is_asked = base and job.lines_file == 0 and not job.is_import_refused
        return f"{base.rstrip('/')}/{quote(job.path)}" if is_asked and is_azure(lease) else None

    def cannot_import(self, batch: BatchRecord) -> None:
        job = self.jobs[batch.job_id]
        self.jobs[batch.job_id] = replace(job, is_import_refused=True)

    def metadata(self, batch: BatchRecord) -> Mapping[str, str]:
        path = self.jobs[batch.job_id].path.encode("utf-8", "replace").decode()
        return {"input": path[-_METADATA_CHARS:]}

    def result_paths(self, batch: BatchRecord) -> tuple[str, str]:
        job = self.jobs[batch.job_id]
        return self._own(job, f"output-{batch.id}.jsonl"), self._own(job, f"error-{batch.id}.jsonl")

    def count_answers(self, batch: BatchRecord, paths: Sequence[str]) -> int:
        job = self.jobs[batch.job_id]
        return sum(self._judge(job, result)[1] is not None for _, result in results_of(*paths))

    async def take_in(
        self, batch: BatchRecord, end: BatchEnd, lease: Lease, paths: Sequence[str]
    ) -> Outcome | None:
        del lease
        return await asyncio.to_thread(self._take_in, batch, end, paths)

    def _take_in(self, batch: BatchRecord, end: BatchEnd, paths: Sequence[str]) -> Outcome | None:
        job, (_, error_path) = self.jobs[batch.job_id], self.result_paths(batch)
        if end.refused:
            lines = self._lines(job, job.lines_file)
            write_refused(lines, error_path, end.refused, is_more=error_path in paths)
        surplus, blame = Surplus(), None
        for _, result in results_of(*paths):
            outcome, _ = self._judge(job, result)
            if surplus.note(result) and outcome.usage is not None:
                cost_usd = line_cost_usd(self.prices, job.model, result.body, outcome.usage)
                surplus.cost_usd += cost_usd or 0
            blame = blame or (outcome if outcome.kind in OF_THE_KEY else None)
        surplus.tell(f"batch {batch.id} ({job.path})")
        return blame

    def _judge(self, job: Job, result: ResultLine) -> tuple[Outcome, Reply | None]:
        path = job.url.removeprefix("/v1")
        return judge_line(result, path, wall_s=self.wall_s(), clean=self.clean)

    # -- steps ---------------------------------------------------------------------------------

    def check(self, job: Job) -> Job:
        """Bring an input and look at every line of it; one that is not there any more is GONE."""
        try:
            job = replace(job, signature=self._fetch(job))
        except FileNotFoundError:
            return job.at(JobStage.GONE)
        count = num_tokens_from_string if self.settings.count_tokens else None
        with open(self._own(job, "input.jsonl"), "rb") as file:
            found = check_file(file, urls=self._urls, count=count)
        return replace(
            job,
            stage=JobStage.READY if found.is_good else JobStage.SETTLED,
            folder=self._free_folder(job),
            is_import_refused=found.has_mark,
            **{one.name: getattr(found, one.name) for one in fields(found)},
        )

    def judge(self, job: Job, rounds: Sequence[BatchRecord]) -> Job:
        """Sort the results; what is still open is made ready for another round, if one is left."""
        files = [self._round_files(job, *one) for one in zip(rounds, job.lines_files, strict=True)]
        last = rounds[-1].told if rounds else None
        has_results = any(one.has_results for one in files)
        rest = files[-1].rest if files else None
        is_refused = rest is not None and rest.kind is OutcomeKind.REJECTED
        may_again = not (job.findings or (last and last.is_cancelled) or is_refused)
        attempts = sum(not batch.told.is_blamed for batch in rounds)
        if may_again and attempts < self.settings.max_attempts:
            again = self._again(job, files, has_results=has_results)
            if again is not None:
                return again
        if rest is not None and not job.findings and (is_refused or not has_results):
            job = with_finding(job, rest)

        def judge(result: ResultLine) -> tuple[Outcome, Reply | None]:
            return self._judge(job, result)

        figures = LineFigures()
        if has_results:
            figures = write_results(
                self._original(job),
                files,
                judge,
                output_path=self._own(job, "output.jsonl"),
                error_path=self._own(job, "error.jsonl"),
                clean=self.clean,
                prices=self.prices,
                model=job.model,
            )
        figures = with_doubts(figures, files, judge, self.prices)
        return replace(job, figures=figures, stage=JobStage.SETTLED)

    def publish(self, job: Job, rounds: Sequence[BatchRecord]) -> None:
        """Put results, metadata and input into their places; doing it again does no harm."""
        output, error = (self._own(job, name) for name in ("output.jsonl", "error.jsonl"))
        if job.findings and not exists(error):
            write_whole(error, error_lines(job))
        if exists(output):
            self._publish(job, rounds, self.places.output, output, "output")
        if exists(error):
            self._publish(job, rounds, self.places.error, error, "error")

    def is_published(self, job: Job) -> bool:
        """Whether a job that has yet to come to its results has them in place already.

        No other job has its folder, so a run has put them there that the journal does not know.
        """
        if job.stage not in (JobStage.READY, JobStage.RUNNING, JobStage.COLLECTED):
            return False
        metadata = f"{job.folder}/{self._names(job).metadata}"
        return any(store.exists(metadata) for store in (self.places.output, self.places.error))

    def take_input_away(self, job: Job) -> None:
        """Delete the input, now that it lies with its results; a new one of its name stays."""
        for store in (self.places.output, self.places.error):
            store.clear_parts(job.folder)
        try:
            seen = self.places.input.stat(job.path)
        except FileNotFoundError:
            return
        if seen.signature == job.signature:
            self.places.input.delete(job.path)

    def forget(self, job: Job) -> None:
        """Delete all that lies here for a job."""
        shutil.rmtree(os.path.join(self._root, job.token), ignore_errors=True)

    def sweep(self, jobs: Sequence[Job]) -> None:
        """Delete what a crash left: folders of no known job."""
        for name in set(os.listdir(self._root)) - {job.token for job in jobs}:
            shutil.rmtree(os.path.join(self._root, name), ignore_errors=True)

    # ------------------------------------------------------------------------------------------

    def _again(self, job: Job, files: Sequence[RoundFiles], *, has_results: bool) -> Job | None:
        """Return a job that is ready for another round; None: there is nothing to ask again."""
        if not has_results and not any(one.is_last for one in files):
            unknown = [one for one in files if one.rest.kind is OutcomeKind.UNKNOWN]
            if not unknown:
                return job.at(JobStage.READY)  # with the same lines
        found: Sorted = sort_results(files, lambda result: self._judge(job, result))
        number = job.lines_file + 1
        if not write_rest(self._original(job), self._lines(job, number), found):
            return None
        return replace(job, lines_file=number, stage=JobStage.READY)

    def _publish(
        self, job: Job, rounds: Sequence[BatchRecord], store: Store, result: str, kind: str
    ) -> None:
        names = self._names(job)
        name = names.output if kind == "output" else names.error
        metadata = self._own(job, "metadata.json")
        told = metadata_of(
            job,
            rounds,
            input_url=self.places.input.url(job.path),
            ended_wall_s=self.wall_s(),
            output_name=names.output if exists(self._own(job, "output.jsonl")) else None,
        )
        write_whole(metadata, told)
        store.publish(result, f"{job.folder}/{name}")
        store.publish(metadata, f"{job.folder}/{names.metadata}")
        store.publish(self._original(job), f"{job.folder}/{posixpath.basename(job.path)}")

    def _names(self, job: Job) -> ResultNames:
        return result_names(job.path, job.taken_wall_s, self.settings.names)

    def _original(self, job: Job) -> str:
        path = self._own(job, "input.jsonl")
        if not exists(path) and self._fetch(job) != job.signature:
            os.unlink(path)
            told = f"{self.places.input.url(job.path)!r} was changed while it was worked on"
            raise StorageError(f"{told}; put back what it was, then run again.", path=job.path)
        return path

    def _fetch(self, job: Job) -> str:
        path = self._own(job, "input.jsonl")
        signature = self.places.input.fetch(job.path, path).signature
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        return signature

    def _own(self, job: Job, name: str) -> str:
        folder = os.path.join(self._root, job.token)
        if not is_folder(folder):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        return os.path.join(folder, name)

    def _lines(self, job: Job, number: int) -> str:
        if number == 0 and not job.has_mark:
            return self._original(job)
        path = self._own(job, f"lines-{number}.jsonl")
        if number == 0:
            write_rest(self._original(job), path, Sorted())
        return path

    def _round_files(self, job: Job, batch: BatchRecord, lines_file: int) -> RoundFiles:
        told, (output, error) = batch.told, self.result_paths(batch)
        kind = OutcomeKind(told.rest) if told.rest else OutcomeKind.UNSENT
        return RoundFiles(
            lines=self._lines(job, lines_file),
            output=output,
            error=error,
            rest=Outcome(kind=kind, code=told.code, message=told.message),
            is_last=told.status == VANISHED,
        )

    def _free_folder(self, job: Job) -> str:
        """Return a folder name with the time, which no earlier input of this name has taken."""
        names = self._names(job)
        folder, number = names.folder, 1
        while any(
            store.exists(f"{folder}/{names.metadata}")
            for store in (self.places.output, self.places.error)
        ):
            number += 1
            folder = f"{names.folder}-{number}"
        return folder


def work_folder(state_folder: str) -> str:
    """Return where jobs' files lie; it is there when a BatchFolder has worked with that state."""
    return os.path.join(state_folder, "batch_folder")


def with_finding(job: Job, outcome: Outcome) -> Job:
    """Return a job that failed as a whole; answers of earlier rounds are kept."""
    finding = Finding(code=outcome.code, message=outcome.message)
    return replace(job, findings=(finding,), findings_count=1)


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
