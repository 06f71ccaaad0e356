"""Talk to the Batch API of one provider under one key.

What only reads, cancels or deletes is repeated here until it works or ten minutes are over. What
makes something (`upload`, `import_file`, `create`) is sent once: when its reply is lost, only the
caller can look whether it happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from random import Random
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote

from ...calls.classify import classify
from ...calls.responses import parse_object
from ...core.checkpoint import checkpoint
from ...core.clock import Clock
from ...core.filesystem import storage_error
from ...core.records import Lease, Outcome, OutcomeKind, RawReply, canonical_json
from ...core.redaction import Redactor
from ...transport.base import HttpExchange, Method, SendFault, Upload
from ...transport.http import HttpTransport
from .objects import RemoteBatch, RemoteFile, batch_from, file_from

_TIMEOUT_S = 60.0
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_PASSING = {OutcomeKind.BUSY, OutcomeKind.UNSENT, OutcomeKind.UNKNOWN}
_CONFLICT = 409
_Read = TypeVar("_Read")


class ServiceRefusal(Exception):
    """The service answered, and not with what was asked for."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome

    def __str__(self) -> str:
        status = f"status {self.outcome.status}, " if self.outcome.status else ""
        return f"{status}{self.outcome.code}: {self.outcome.message}"


class BatchService:
    """Files and batches under one key; belongs to the event loop of its transport.

    Its methods raise ServiceRefusal when the service answers with an error, and SendFault when no
    whole reply came. `upload`, `import_file` and `create` are sent once; all else is repeated.
    """

    def __init__(
        self,
        transport: HttpTransport,
        lease: Lease,
        *,
        clock: Clock,
        chance: Random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        patience_s: float = 600.0,
    ) -> None:
        """Of the lease, only the key and its address are used.

        Args:
            patience_s: seconds for which what may be repeated is repeated.
        """
        self.lease = lease
        self._transport = transport
        self._clock = clock
        self._chance = chance
        self._sleep = sleep
        self._patience_s = patience_s
        self._clean = Redactor([lease.secret]).clean

    # -- files ---------------------------------------------------------------------------------

    async def upload(self, name: str, path: str) -> RemoteFile:
        """Send a file from disk, for use as a batch's input.

        Raises:
            StorageError: it cannot be read.
        """
        upload = Upload(name=name, path=path, fields={"purpose": "batch"})
        exchange = HttpExchange(method="POST", path="/files", upload=upload)
        return await self._once(exchange, file_from)

    async def import_file(self, name: str, url: str) -> RemoteFile:
        """Have Azure fetch a file from a URL by itself; it is ready when its status says so."""
        asked = {"filename": name, "purpose": "batch", "content_url": url}
        return await self._once(_post("/files/import", asked), file_from)

    async def file(self, file_id: str) -> RemoteFile:
        """Return how a file stands."""
        return await self._repeat(_plain("GET", _path("files", file_id)), file_from)

    async def files(self) -> list[RemoteFile]:
        """Return the files for batches, and those that batches wrote where the provider mixes."""
        found = [file_from(raw) async for raw in self._pages("/files", {"purpose": "batch"})]
        return [file for file in found if file is not None]

    async def download(self, file_id: str, path: str) -> int:
        """Write a file's content to `path`, whole or not at all, and return its size in bytes.

        It holds lines of JSON: what begins otherwise, such as a gateway's page, is no answer.

        Raises:
            StorageError: it cannot be written.
        """
        return await self._patiently(lambda: self._download(file_id, path))

    async def delete(self, file_id: str) -> None:
        """Delete a file; one that is gone already is fine."""
        checkpoint("batch.deleting")
        try:
            await self._repeat(_plain("DELETE", _path("files", file_id)), _anything)
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
        """
        asked = {
            "input_file_id": input_file_id,
            "endpoint": endpoint,
            "completion_window": window,
            "metadata": dict(metadata),
        }
        return await self._once(_post("/batches", asked), batch_from)

    async def batch(self, batch_id: str) -> RemoteBatch:
        """Return how a batch stands."""
        return await self._repeat(_plain("GET", _path("batches", batch_id)), batch_from)

    async def batches(self) -> AsyncGenerator[RemoteBatch, None]:
        """Yield all batches, newest first."""
        async with contextlib.aclosing(self._pages("/batches", {"limit": "100"})) as found:
            async for raw in found:
                batch = batch_from(raw)
                if batch is not None:
                    yield batch

    async def cancel(self, batch_id: str) -> RemoteBatch:
        """Ask that a batch be stopped, and return how it stands; one that is over stays as it is.

        Lines that were answered before it stops are billed and can be downloaded.
        """
        try:
            return await self._repeat(
                _plain("POST", _path("batches", batch_id, "cancel")), batch_from
            )
        except ServiceRefusal as refusal:
            if refusal.outcome.status not in {400, _CONFLICT}:
                raise
            batch = await self.batch(batch_id)
            if not (batch.is_over or batch.status == "cancelling"):
                raise
            return batch

    # -- how it is asked -----------------------------------------------------------------------

    async def _pages(
        self, path: str, query: Mapping[str, str]
    ) -> AsyncGenerator[Mapping[str, Any], None]:
        after = ""
        while True:
            asked = {**query, "after": after} if after else query
            page = await self._repeat(HttpExchange(method="GET", path=path, query=asked), _page)
            for raw in page["data"]:
                yield raw
            last = str(page["data"][-1].get("id")) if page["data"] else ""
            if not page.get("has_more") or last in {"", after}:
                return
            after = last

    async def _download(self, file_id: str, path: str) -> int:
        with _whole_file(path) as file:
            exchange = HttpExchange(
                method="GET", path=_path("files", file_id, "content"), save_to=file
            )
            reply = await self._transport.run(exchange, self.lease, timeout_s=_TIMEOUT_S)
            size_bytes = file.tell()
            file.seek(0)
            if not _is_success(reply) or (size_bytes and parse_object(file.readline()) is None):
                raise ServiceRefusal(self._outcome(reply, exchange))
            return size_bytes

    async def _repeat(self, exchange: HttpExchange, read: Callable[[Any], _Read | None]) -> _Read:
        return await self._patiently(lambda: self._once(exchange, read))

    async def _patiently(self, attempt: Callable[[], Awaitable[_Read]]) -> _Read:
        """Attempt something until it works, is refused for good, or the patience is at its end."""
        until_s = self._clock.now_s() + self._patience_s
        longest_s = _FIRST_PAUSE_S
        while True:
            try:
                return await attempt()
            except (ServiceRefusal, SendFault) as exc:
                pause_s = _asked_pause_s(exc) or self._chance.random() * longest_s
                if self._clock.now_s() + pause_s > until_s or not _is_worth_repeating(exc):
                    raise
            await self._sleep(pause_s)
            longest_s = min(2 * longest_s, _LONGEST_PAUSE_S)

    async def _once(self, exchange: HttpExchange, read: Callable[[Any], _Read | None]) -> _Read:
        reply = await self._transport.run(exchange, self.lease, timeout_s=_TIMEOUT_S)
        raw = parse_object(reply.body or b"{}") if _is_success(reply) else None
        found = None if raw is None else read(raw)
        if found is None:
            raise ServiceRefusal(self._outcome(reply, exchange))
        return found

    def _outcome(self, reply: RawReply, exchange: HttpExchange) -> Outcome:
        wall_s = self._clock.wall_s()
        outcome, answer = classify(reply, exchange.path, wall_s=wall_s, clean=self._clean)
        if answer is None:
            return outcome
        told = f"{exchange.path}: the reply is not what was asked for"
        return Outcome(
            kind=OutcomeKind.UNKNOWN, status=reply.status, code="no_answer", message=told
        )


def _is_worth_repeating(failure: ServiceRefusal | SendFault) -> bool:
    if isinstance(failure, SendFault):
        return True
    return failure.outcome.kind in _PASSING and failure.outcome.status != _CONFLICT


def _asked_pause_s(failure: ServiceRefusal | SendFault) -> float | None:
    return failure.outcome.retry_after_s if isinstance(failure, ServiceRefusal) else None


@contextlib.contextmanager
def _whole_file(path: str) -> Iterator[BinaryIO]:
    """Write beside `path`, and move there what is complete and on the disk.

    Raises:
        StorageError: it cannot be written.
    """
    part = f"{path}.part"
    try:
        with open(part, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as exc:
        raise storage_error(exc, path) from exc
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)


def _is_success(reply: RawReply) -> bool:
    return 200 <= reply.status < 300


def _plain(method: Method, path: str) -> HttpExchange:
    return HttpExchange(method=method, path=path)


def _post(path: str, asked: Mapping[str, Any]) -> HttpExchange:
    return HttpExchange(method="POST", path=path, body=canonical_json(asked))


def _path(*parts: str) -> str:
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def _page(raw: Mapping[str, Any]) -> Mapping[str, Any] | None:
    data = raw.get("data")
    is_page = isinstance(data, list) and all(isinstance(one, dict) for one in data)
    return raw if is_page else None


def _anything(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    return raw
