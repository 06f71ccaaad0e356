"""Unpack the body of a reply piece by piece, and no more of it than is taken."""

from __future__ import annotations

import zlib

_GZIP, _FRAMED, _BARE = 31, 15, -15
#: The method in the first byte of zlib's frame, which some servers leave out.
_FRAME = 8


class Unpacker:
    """Unpacks one body of `gzip` or `deflate`.

    Source: https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1 (read 2026-11).
    """

    #: What it can unpack.
    encodings = ("gzip", "deflate")

    def __init__(self, encoding: str) -> None:
        self._is_gzip = encoding == "gzip"
        self._stream: zlib._Decompress | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the body may end here."""
        return self._stream is None or self._stream.eof

    def unpack(self, packed: bytes, most_bytes: int) -> bytes:
        """Return what comes of the next piece; once it is more than `most_bytes`, not all of it.

        Raises:
            zlib.error: it is packed in another way.
        """
        unpacked = b""
        while packed and len(unpacked) <= most_bytes:
            if self._stream is None or (self._stream.eof and self._is_gzip):
                self._stream = zlib.decompressobj(self._window(packed))
            elif self._stream.eof:
                raise zlib.error("something follows the end")
            unpacked += self._stream.decompress(packed, most_bytes + 1 - len(unpacked))
            packed = self._stream.unused_data
        return unpacked

    def _window(self, packed: bytes) -> int:
        if self._is_gzip:
            return _GZIP
        return _FRAMED if packed[0] & 0x0F == _FRAME else _BARE
