"""Read the body of a reply, and no more of it than is good for this process."""

from __future__ import annotations

import asyncio
from typing import BinaryIO

import aiohttp

from ..core.filesystem import storage_error
from .exchange_failures import REFUSAL_BYTES, too_large

_CHUNK_BYTES = 1_048_576


async def read_body(
    reply: aiohttp.ClientResponse, save_to: BinaryIO | None, most_bytes: int
) -> bytes:
    """Return the body, unpacked; of a refusal the beginning.

    Args:
        save_to: where the body of a 2xx reply is written as it comes, however large it is; None:
            nowhere.

    Raises:
        ExchangeFailed: it is no refusal and has more than `most_bytes`.
        StorageError: it cannot be written.
    """
    is_success = 200 <= reply.status < 300
    if save_to is not None and is_success:
        await _save(reply, save_to)
        return b""
    if not is_success:
        most_bytes = min(most_bytes, REFUSAL_BYTES)
    elif reply.method != "HEAD" and (reply.content_length or 0) > most_bytes:
        raise too_large(most_bytes)
    body = await reply.content.readany()
    if len(body) <= most_bytes and reply.content.at_eof():
        return body
    pieces, size_bytes = [body], len(body)
    while size_bytes <= most_bytes and (piece := await reply.content.readany()):
        pieces.append(piece)
        size_bytes += len(piece)
    if size_bytes > most_bytes:
        if is_success:
            raise too_large(most_bytes)
        reply.close()
    return b"".join(pieces)[:most_bytes]


async def _save(reply: aiohttp.ClientResponse, file: BinaryIO) -> None:
    async for chunk in reply.content.iter_chunked(_CHUNK_BYTES):
        try:
            await asyncio.to_thread(file.write, chunk)
        except OSError as exc:
            raise storage_error(exc, str(file.name)) from exc
