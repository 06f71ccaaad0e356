"""Talk to the Batch API of one provider under one key.

What only reads, cancels or deletes is repeated here until it works or ten minutes are over. What
makes something (`upload`, `import_file`, `create`) is sent once: when its reply is lost, only the
caller can look whether it happened. An id that the service gave is believed for a while: what is
said not to be there is looked for again. A batch that may have been made although nobody here was
told is found in the list.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote

from ...calls.classify import classify
from ...calls.refusals import of_no_text
from ...calls.responses import parse_object
from ...core.checkpoint import checkpoint
from ...core.clock import backoff_s
from ...core.filesystem import atomic_file, storage_errors
from ...core.records import Lease, Outcome, OutcomeKind, RawReply, canonical_json
from ...core.redaction import Redactor
from ...transport.base import HttpExchange, Method, SendFault, Upload
from ...transport.http import HttpTransport
from ..options import Waiting
from .objects import RemoteBatch, RemoteFile, batch_from, file_from

_TIMEOUT_S = 60.0
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_PASSING = {OutcomeKind.BUSY, OutcomeKind.UNSENT, OutcomeKind.UNKNOWN}
_CONFLICT = 409
#: The longest that a wish to wait is granted, seconds.
_LONGEST_ASKED_S = 600.0
#: The name in a batch's metadata under which its token stands.
MARK = "openai_parallel_toolkit"
#: The code of a refusal of ours: what was made cannot be asked for.
BAD_ID = "bad_id"
_MISSING = frozenset({400, 404})
_LONGEST_PARAM = 100
_FILE_PARAMS = frozenset({"file", "file_id", "input_file", "input_file_id"})
_Read = TypeVar("_Read")


class ServiceRefusal(Exception):
    """The service answered, and not with what was asked for."""

    def __init__(self, outcome: Outcome, param: str = "") -> None:
        super().__init__(outcome, param)
        self.outcome = outcome
        #: The field that it is about; "": not said.
        self.param = param

    def misses(self, file_id: str) -> bool:
        """Return whether it says that a file is not there."""
        is_named = self.param in _FILE_PARAMS or file_id in self.outcome.message
        return is_named and self.outcome.status in _MISSING

    def __str__(self) -> str:
        status = f"status {self.outcome.status}, " if self.outcome.status else ""
        return f"{status}{self.outcome.code}: {self.outcome.message}"


class BatchService:
    """Files and batches under one key; belongs to the event loop of its transport.

    Its methods raise ServiceRefusal when the service answers with an error, and SendFault when no
    whole reply came. `upload`, `import_file` and `create` are sent once; all else is repeated.
    """

    def __init__(self, transport: HttpTransport, lease: Lease, waiting: Waiting) -> None:
        """Of the lease, only the key and its address are used."""
        self.lease = lease
        self._transport = transport
        self._clock, self._chance, self._sleep = waiting.clock, waiting.chance, waiting.pause
        self._patience_s = waiting.patience.patience_s
        self._believed_s = min(waiting.patience.believed_s, self._patience_s)
        self._waits: dict[object, str] = {}
        self._clean = Redactor([lease.secret]).clean
        self._file = partial(file_from, clean=self._clean)
        self._batch = partial(batch_from, clean=self._clean)

    @property
    def waits(self) -> str:
        """Why something is tried again, and until when; "": nothing is."""
        return next(iter(self._waits.values()), "")

    def waits_until(self, trouble: object, seconds: float | None) -> str:
        """Say what the trouble is, and how long it is tried again; None: until it works."""
        until = "until the service answers"
        if seconds is not None:
            wall_s = self._clock.wall_s() + seconds
            until = f"until {time.strftime('%H:%M:%S', time.localtime(wall_s))}"
        return f"the service cannot be asked ({trouble}); tried {until}"

    # -- files ---------------------------------------------------------------------------------

    async def upload(self, name: str, path: str) -> RemoteFile:
        """Send a file from disk, for use as a batch's input.

        Raises:
            StorageError: it cannot be read.
        """
        upload = Upload(name=name, path=path, fields={"purpose": "batch"})
        return await self._once(_exchange("POST", "files", upload=upload), _made(self._file))

    async def import_file(self, name: str, url: str) -> RemoteFile:
        """Have Azure fetch a file from a URL by itself; it is ready when its status says so."""
        asked = {"filename": name, "purpose": "batch", "content_url": url}
        exchange = _exchange("POST", "files", "import", body=canonical_json(asked))
        return await self._once(exchange, _made(self._file))

    async def file(self, file_id: str) -> RemoteFile:
        """Return how a file stands."""
        return await self._repeat(_exchange("GET", "files", file_id), self._file, file_id)

    async def files(self) -> list[RemoteFile]:
        """Return the files for batches, and those that batches wrote where the provider mixes."""
        return [file async for file in self._pages("files", {"purpose": "batch"}, self._file)]

    async def download(self, file_id: str, path: str) -> int:
        """Write a file's content to `path`, whole or not at all, and return its size in bytes.

        It holds lines of JSON: what begins otherwise, such as a gateway's page, is no answer.

        Raises:
            StorageError: it cannot be written.
        """
        return await self._patiently(lambda: self._download(file_id, path), file_id)

    async def delete(self, file_id: str) -> None:
        """Delete a file; one that is gone already is fine."""
        checkpoint("batch.deleting")
        try:
            await self._repeat(_exchange("DELETE", "files", file_id), lambda raw: raw)
        except ServiceRefusal as refusal:
            if refusal.outcome.kind is not OutcomeKind.NOT_HERE:
                raise

    # -- batches -------------------------------------------------------------------------------

    async def create(
        self,
        input_file_id: str,
        endpoint: str,
        *,
        window: str = "24h",
        metadata: Mapping[str, str],
    ) -> RemoteBatch:
        """Start a batch.

        Args:
            endpoint: the URL of its lines.
            window: the time the service may take.
            metadata: kept with the batch; up to 16 texts, names of at most 64 characters and
                values of at most 512.

        Raises:
            ServiceRefusal: also when the file `misses` for a while.
        """
        asked = {
            "input_file_id": input_file_id,
            "endpoint": endpoint,
            "completion_window": window,
            "metadata": dict(metadata),
        }
        exchange = _exchange("POST", "batches", body=canonical_json(asked))

        def is_early(trouble: Trouble) -> bool:
            return isinstance(trouble, ServiceRefusal) and trouble.misses(input_file_id)

        return await self._retry(
            lambda: self._once(exchange, _made(self._batch)),
            lambda trouble: self._believed_s if is_early(trouble) else 0.0,
        )

    async def batch(self, batch_id: str) -> RemoteBatch:
        """Return how a batch stands."""
        return await self._repeat(_exchange("GET", "batches", batch_id), self._batch, batch_id)

    async def whole_batch(self, remote: RemoteBatch) -> RemoteBatch:
        """Return a batch that is over once it names the files that its counts promise."""
        since_s, looks = self._clock.now_s(), 0
        while not remote.is_whole and self._clock.now_s() - since_s < self._believed_s:
            looks += 1
            await self._sleep(self._pause_s(looks))
            remote = await self.batch(remote.id)
        return remote

    def batches(self) -> AsyncGenerator[RemoteBatch, None]:
        """Yield all batches, newest first."""
        return self._pages("batches", {"limit": "100"}, self._batch)

    async def cancel(self, batch_id: str) -> RemoteBatch:
        """Ask that a batch be stopped, and return how it stands; one that is over stays as it is.

        Lines that were answered before it stops are billed and can be downloaded.
        """
        try:
            exchange = _exchange("POST", "batches", batch_id, "cancel")
            return await self._repeat(exchange, self._batch)
        except ServiceRefusal as refusal:
            if refusal.outcome.status not in {400, _CONFLICT}:
                raise
            batch = await self.batch(batch_id)
            if not (batch.is_over or batch.status == "cancelling"):
                raise
            return batch

    # -- how it is asked -----------------------------------------------------------------------

    async def _pages(
        self, path: str, query: Mapping[str, str], read: Callable[[Any], _Read | None]
    ) -> AsyncGenerator[_Read, None]:
        after = ""
        while True:
            asked = {**query, "after": after} if after else query
            page = await self._repeat(_exchange("GET", path, query=asked), _page)
            for raw in page["data"]:
                found = read(raw)
                if found is not None:
                    yield found
            last = str(page["data"][-1].get("id")) if page["data"] else ""
            if not page.get("has_more") or last in {"", after}:
                return
            after = last

    async def _download(self, file_id: str, path: str) -> int:
        with _whole_file(path) as file:
            exchange = _exchange("GET", "files", file_id, "content", save_to=file)
            reply = await self._transport.run(exchange, self.lease, timeout_s=_TIMEOUT_S)
            size_bytes = file.tell()
            file.seek(0)
            if not _is_success(reply) or (size_bytes and parse_object(file.readline()) is None):
                raise self._refusal(reply, exchange)
            return size_bytes

    async def _repeat(
        self, exchange: HttpExchange, read: Callable[[Any], _Read | None], known_id: str = ""
    ) -> _Read:
        return await self._patiently(lambda: self._once(exchange, read), known_id)

    async def _patiently(
        self, attempt: Callable[[], Awaitable[_Read]], known_id: str = ""
    ) -> _Read:
        """Attempt something until it works, is refused for good, or the patience is at its end.

        Args:
            known_id: what is asked for, which the service has named; "": nothing of that kind.
        """

        def limit_s(trouble: Trouble) -> float:
            if isinstance(trouble, SendFault):
                return self._patience_s
            kind = trouble.outcome.kind
            if kind in _PASSING and trouble.outcome.status != _CONFLICT:
                return self._patience_s
            is_missing = kind is OutcomeKind.NOT_HERE or trouble.misses(known_id)
            return self._believed_s if known_id and is_missing else 0.0

        return await self._retry(attempt, limit_s)

    async def _retry(
        self, attempt: Callable[[], Awaitable[_Read]], limit_s: Callable[[Trouble], float]
    ) -> _Read:
        """Attempt something again while `limit_s`, the seconds that a trouble is borne, lasts."""
        since_s, failures, me = self._clock.now_s(), 0, object()
        try:
            while True:
                try:
                    return await attempt()
                except (ServiceRefusal, SendFault) as exc:
                    failures += 1
                    pause_s = asked_pause_s(exc) or self._pause_s(failures)
                    left_s = since_s + limit_s(exc) - self._clock.now_s()
                    if pause_s > left_s:
                        raise
                    self._waits[me] = self.waits_until(exc, left_s)
                await self._sleep(pause_s)
        finally:
            self._waits.pop(me, None)

    def _pause_s(self, failures: int) -> float:
        chance = 0.2 + 0.8 * self._chance.random()
        return backoff_s(failures, chance, base_s=_FIRST_PAUSE_S, cap_s=_LONGEST_PAUSE_S)

    async def _once(self, exchange: HttpExchange, read: Callable[[Any], _Read | None]) -> _Read:
        reply = await self._transport.run(exchange, self.lease, timeout_s=_TIMEOUT_S)
        raw = parse_object(reply.body or b"{}") if _is_success(reply) else None
        found = None if raw is None else read(raw)
        if found is None:
            raise self._refusal(reply, exchange)
        return found

    def _refusal(self, reply: RawReply, exchange: HttpExchange) -> ServiceRefusal:
        wall_s = self._clock.wall_s()
        outcome, answer = classify(reply, exchange.path, wall_s=wall_s, clean=self._clean)
        if answer is not None:
            told = f"{exchange.path}: the reply is not what was asked for"
            outcome = Outcome(
                kind=OutcomeKind.UNKNOWN, status=reply.status, code="no_answer", message=told
            )
        error = (parse_object(reply.body) or {}).get("error")
        param = str(error.get("param") or "")[:_LONGEST_PARAM] if isinstance(error, dict) else ""
        return ServiceRefusal(of_no_text(outcome), param)


#: Why something did not work.
Trouble = ServiceRefusal | SendFault


def asked_pause_s(trouble: Trouble) -> float | None:
    """Return the seconds that the service asks to wait; None: it does not."""
    asked_s = trouble.outcome.retry_after_s if isinstance(trouble, ServiceRefusal) else None
    return None if asked_s is None else min(asked_s, _LONGEST_ASKED_S)


@contextlib.contextmanager
def _whole_file(path: str) -> Iterator[BinaryIO]:
    with storage_errors(path), atomic_file(path) as part, open(part, "w+b") as file:
        yield file


def _made(read: Callable[[Any], _Read | None]) -> Callable[[Any], _Read | None]:
    """Have an id refused for good that is told and cannot be kept: the next would be like it."""

    def read_made(raw: Mapping[str, Any]) -> _Read | None:
        found = read(raw)
        if found is None and isinstance(raw.get("id"), str) and raw["id"]:
            told = "what was made has an id that cannot be kept: it holds a secret or is no word"
            raise ServiceRefusal(Outcome(kind=OutcomeKind.UNKNOWN, code=BAD_ID, message=told))
        return found

    return read_made


def _is_success(reply: RawReply) -> bool:
    return 200 <= reply.status < 300


def _exchange(method: Method, *parts: str, **content: Any) -> HttpExchange:
    path = "".join(f"/{quote(part, safe='')}" for part in parts)
    return HttpExchange(method=method, path=path, **content)


def _page(raw: Mapping[str, Any]) -> Mapping[str, Any] | None:
    data = raw.get("data")
    is_page = isinstance(data, list) and all(isinstance(one, dict) for one in data)
    return raw if is_page else None
