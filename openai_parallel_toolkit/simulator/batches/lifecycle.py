"""Lead a batch through its life: validate, answer line by line, put the results into files.

A life is a generator. What it yields is the seconds until it wants its next turn, so that no batch,
however long, keeps the event loop from its other work.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from random import Random

from ..environment import Environment
from .batch import BatchError, EnqueuedTokens, SimBatch
from .file_store import FileStore
from .line_processor import prompt_tokens, serve_line
from .lines import BadLine, BatchLine, LineReader, answer_line, unanswered_line

#: Lines that are dealt with in one turn.
_SLICE = 50
#: Seconds until a held batch looks again whether it may go on.
_LOOK_EVERY_S = 0.01
#: More would make every later look at the batch slow.
_MOST_ERRORS = 100
#: Code and message of the lines that were not answered when a batch ended early.
_UNANSWERED = {
    "expired": (
        "batch_expired",
        "This request could not be executed before the completion window expired.",
    ),
    "cancelled": (
        "batch_cancelled",
        "This request was not executed because the batch was cancelled.",
    ),
}


class BatchLifecycle:
    """Leads batches. Its generators run in the event loop's thread alone."""

    def __init__(self, environment: Environment, files: FileStore) -> None:
        self._environment = environment
        self._files = files
        #: By name of the key and model.
        self.enqueued: dict[tuple[str, str], EnqueuedTokens] = {}

    def lead(self, batch: SimBatch) -> Iterator[float]:
        """Lead a batch from validating to its end."""
        yield batch.seconds / 4
        lines = yield from self._validate(batch)
        if batch.errors:
            batch.enter("failed", self._environment.now_s())
            return
        batch.total = len(lines)
        if batch.status == "validating":
            batch.enter("in_progress", self._environment.now_s())
        # Whatever the order in the file, results come in another one.
        Random(f"{self._environment.seed} {batch.id}").shuffle(lines)
        good, bad = list[bytes](), list[bytes]()
        left = yield from self._answer(batch, lines, good, bad)
        end = self._early_end(batch) or batch.course.end
        if end != "expired" and batch.status == "in_progress":
            step = "finalizing" if end == "completed" else "cancelling"
            batch.enter(step, self._environment.now_s())
        yield batch.seconds / 4
        if batch.status == "cancelling":
            end = "cancelled"
        if end in _UNANSWERED:
            code, message = _UNANSWERED[end]
            bad += [
                unanswered_line(batch.id, line.custom_id, code=code, message=message)
                for line in left
            ]
        good += [
            line.replace(b'"content":"', b'"content":"Again: ', 1)
            for line in good[: batch.course.repeats]
        ]
        good += [
            answer_line(batch.id, f"stranger-{number}", status=200, request_id="", body=b"{}")
            for number in range(batch.course.strangers)
        ]
        batch.output_file_id = self._store(batch, "output", good)
        batch.error_file_id = self._store(batch, "error", bad)
        self.enqueued[batch.key, batch.model].now -= batch.enqueued_tokens
        batch.enter(end, self._environment.now_s())

    def _validate(self, batch: SimBatch) -> Generator[float, None, list[BatchLine]]:
        """Read all lines, enqueue their tokens, and note in the batch what is wrong with them."""
        texts = [
            (number, text)
            for number, text in enumerate(batch.input_file.content.split(b"\n"), 1)
            if text.strip()
        ]
        if error := self._first_error(batch, len(texts)):
            batch.errors.append(error)
            return []
        reader, lines = LineReader(batch.endpoint), list[BatchLine]()
        for count, (number, text) in enumerate(texts, 1):
            try:
                line = reader.read(text, number)
                batch.enqueued_tokens += prompt_tokens(self._environment, batch, line)
                lines.append(line)
            except BadLine as bad:
                batch.errors.append(bad.error)
            if len(batch.errors) == _MOST_ERRORS:
                break
            if count % _SLICE == 0:
                yield 0.0
        if not batch.errors:
            batch.model = lines[0].model
            self._enqueue(batch)
        return lines

    def _first_error(self, batch: SimBatch, count: int) -> BatchError | None:
        if batch.course.end == "failed":
            return BatchError(code=batch.course.code, message=batch.course.message)
        if not count:
            message = "The input file is empty. Please ensure it contains at least one request."
            return BatchError(code="empty_file", message=message)
        if count > self._environment.batch_limits.lines:
            message = (
                f"The batch input file contains {count:,} requests, more than the limit of "
                f"{self._environment.batch_limits.lines:,}."
            )
            return BatchError(code="too_many_tasks", message=message)
        return None

    def _enqueue(self, batch: SimBatch) -> None:
        """Count the batch's tokens as enqueued, or note that they are too many."""
        key = batch.account.key
        count = self.enqueued.setdefault((key.name, batch.model), EnqueuedTokens())
        wanted = count.now + batch.enqueued_tokens
        count.peak = max(count.peak, wanted)
        if key.enqueued_tokens is None or wanted <= key.enqueued_tokens:
            count.now = wanted
            return
        message = (
            f"Enqueued token limit reached for {batch.model} in organization "
            f"org-{key.group or key.name}. Limit: {key.enqueued_tokens:,} enqueued tokens. "
            "Please try again once some in_progress batches have been completed."
        )
        batch.errors.append(BatchError(code="token_limit_exceeded", message=message))

    def _answer(
        self,
        batch: SimBatch,
        lines: Sequence[BatchLine],
        good: list[bytes],
        bad: list[bytes],
    ) -> Generator[float, None, Sequence[BatchLine]]:
        """Answer lines over half of the batch's time; return those that are left when it ends."""
        course = batch.course
        most = round(len(lines) * (course.share if course.end in _UNANSWERED else 1))
        lost = round(most * course.lost_share)
        at_once = max(1, min(_SLICE, most // 10))
        pause_s = batch.seconds / 2 * at_once / max(1, most)
        done = 0
        while done < most:
            while self._environment.batch_controls.is_held and not self._early_end(batch):
                yield _LOOK_EVERY_S
            if self._early_end(batch):
                break
            for line in lines[done : min(done + at_once, most)]:
                done += 1
                is_good, answer = serve_line(self._environment, batch, line)
                batch.completed += is_good
                batch.failed += not is_good
                if done > lost:
                    (good if is_good else bad).append(answer)
            yield pause_s
        return lines[done:]

    def _early_end(self, batch: SimBatch) -> str:
        """Return what ends a batch before its time; "" while nothing does."""
        if batch.status == "cancelling":
            return "cancelled"
        return "expired" if self._environment.now_s() >= batch.expires_s else ""

    def _store(self, batch: SimBatch, kind: str, lines: Sequence[bytes]) -> str | None:
        """Put lines into a file; one that would be empty does not exist."""
        if not lines:
            return None
        return self._files.add(
            b"".join(lines),
            key=batch.key,
            name=f"{batch.id}_{kind}.jsonl",
            purpose="batch_output",
            lifetime_s=batch.output_lifetime_s,
        ).id
