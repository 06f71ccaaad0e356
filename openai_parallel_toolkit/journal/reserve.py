"""Room on the disk for the answers in flight, and the answers themselves when the disk refuses.

The reserve is a file of real blocks that is written in place: nothing is given up first, so no
output, log or other process can take what was set aside. Its layout, from the start: a header, what
an attempt ended with, the next one; the first header that does not fit what follows is the end.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal

from ..core.filesystem import free_bytes, sync
from ..core.own_files import part_from_others
from ..core.records import MAX_REPLY_BYTES, CallId, Outcome, OutcomeKind, Usage
from .columns import usd, whole
from .operations import Claimed, Ended

NAME = "reserve"
#: What is set aside to begin with, and in which steps it grows.
STEP_BYTES = 4 * 1024 * 1024
#: For an answer whose size nothing limits, until so many of its model were seen; or so many times
#: the largest of them.
_UNKNOWN_BYTES, _ENOUGH_SEEN, _FEW_SEEN_MARGIN = 32 * 1024, 32, 2
#: And from then on: the least, and how many times the largest.
_LEAST_BYTES, _MARGIN = 16 * 1024, 4
#: For what is kept beside an answer.
_BESIDES_BYTES = 1024
_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
#: Length and CRC-32 of what follows; a length of 0 is the end.
_HEADER = struct.Struct("<II")
#: Length of the facts; the answer's body comes after them.
_FACTS = struct.Struct("<I")


@dataclass
class _ModelAnswers:
    """What is known of the answers of one model."""

    #: In flight: how many whose size is limited, the sum of these limits, and the others.
    limited: int = 0
    limited_bytes: int = 0
    unlimited: int = 0
    seen: int = 0
    largest_bytes: int = 0

    def room_bytes(self) -> int:
        """Return the room that those in flight may need."""
        largest = self.largest_bytes
        if self.seen < _ENOUGH_SEEN:
            likely = max(_UNKNOWN_BYTES, _FEW_SEEN_MARGIN * largest)
        else:
            likely = max(_LEAST_BYTES, _MARGIN * largest)
        size_bytes = max(self.limited_bytes, self.limited * largest)
        size_bytes += self.unlimited * min(likely, MAX_REPLY_BYTES)
        return size_bytes + (self.limited + self.unlimited) * _BESIDES_BYTES


class AnswersInFlight:
    """How much room the answers of claimed attempts may need."""

    def __init__(self) -> None:
        self._open: dict[int, Claimed] = {}
        self._models: defaultdict[str, _ModelAnswers] = defaultdict(_ModelAnswers)

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, attempt_id: int) -> bool:
        return attempt_id in self._open

    def room_bytes(self) -> int:
        """Return the room that all of them together may need."""
        return sum(model.room_bytes() for model in self._models.values())

    def begin(self, claim: Claimed) -> None:
        """Count an attempt in, unless its answer takes no room."""
        if claim.reply_bytes != 0:
            self._open[claim.attempt_id] = claim
            self._count(claim, 1)

    def end(self, attempt_id: int, body: bytes | None = None) -> None:
        """Count an attempt out, with the answer it got."""
        claim = self._open.pop(attempt_id, None)
        if claim is None:
            return
        self._count(claim, -1)
        if body is not None:
            model = self._models[claim.model]
            model.seen += 1
            model.largest_bytes = max(model.largest_bytes, len(body))

    def _count(self, claim: Claimed, change: int) -> None:
        model = self._models[claim.model]
        if claim.reply_bytes is None:
            model.unlimited += change
        else:
            model.limited += change
            model.limited_bytes += change * min(claim.reply_bytes, MAX_REPLY_BYTES)


def set_aside_bytes(folder: str) -> int:
    """Return what a state folder's reserve takes, which a run that died may have left."""
    try:
        return os.lstat(os.path.join(folder, NAME)).st_blocks * 512
    except OSError:
        return 0


class DiskReserve:
    """The file of a state folder; used by one thread at a time. Its methods raise OSError."""

    def __init__(self, folder: str) -> None:
        """Open the file, with what an earlier process may have left in it."""
        self._folder = folder
        self.path = os.path.join(folder, NAME)
        part_from_others(self.path)
        self._fd = os.open(self.path, _OPEN, 0o600)
        #: Bytes at its start that hold answers.
        self._used_bytes = 0
        #: Bytes that have real blocks.
        self._size_bytes = 0
        #: Why it did not grow, the last time.
        self.cause = errno.ENOSPC

    def grow(self, room_bytes: int, *, is_lone: bool) -> bool:
        """Have so much room, by steps; tells whether it is there.

        Half of the disk is left to others, unless `is_lone` says that nothing can go on else.
        """
        wanted_bytes = self._used_bytes + room_bytes
        if wanted_bytes <= self._size_bytes:
            return True
        self.cause = errno.ENOSPC
        stepped = -(-wanted_bytes // STEP_BYTES) * STEP_BYTES
        try:
            free = free_bytes(self._folder)
            most_bytes = self._size_bytes + max(0, free - self._size_bytes) // 2
            size_bytes = min(stepped, most_bytes)
            if size_bytes < wanted_bytes:
                if not is_lone or wanted_bytes > self._size_bytes + free:
                    return False
                size_bytes = wanted_bytes
            _allocate(self._fd, self._size_bytes, size_bytes - self._size_bytes)
        except OSError as error:
            self.cause = error.errno or errno.EIO
            with suppress(OSError):  # as large as it was
                os.ftruncate(self._fd, self._size_bytes)
            return False
        self._size_bytes = size_bytes
        return True

    def keep(self, endings: Sequence[Ended]) -> None:
        """Write what attempts ended with; it is durable on return."""
        found = b"".join(map(_record, endings))
        if not found:
            return
        written = 0
        while written < len(found):
            written += os.pwrite(self._fd, found[written:], self._used_bytes + written)
        os.fsync(self._fd)
        with suppress(OSError):  # no more files can be opened; the name is there, as a rule
            sync(self._folder)
        self._used_bytes += written

    def kept(self) -> list[Ended]:
        """Return what was written."""
        return [_ending(found) for found in self._records()]

    def leave_only_answers(self) -> None:
        """Give back the room that holds nothing."""
        self._used_bytes = sum(_HEADER.size + len(found) for found in self._records())
        os.ftruncate(self._fd, self._used_bytes)
        self._size_bytes = self._used_bytes

    def empty(self) -> None:
        """Forget what was written, which is in the journal now."""
        os.ftruncate(self._fd, 0)
        os.fsync(self._fd)
        self._used_bytes = self._size_bytes = 0

    def close(self) -> None:
        """Give all room back; what was written stays."""
        if self._fd < 0:
            return
        try:
            self.leave_only_answers()
            if not self._used_bytes:
                os.unlink(self.path)
        finally:
            os.close(self._fd)
            self._fd = -1

    def _records(self) -> Iterator[bytes]:
        at = 0
        while len(header := os.pread(self._fd, _HEADER.size, at)) == _HEADER.size:
            length, crc = _HEADER.unpack(header)
            found = os.pread(self._fd, length, at + _HEADER.size) if length else b""
            if not length or len(found) < length or zlib.crc32(found) != crc:
                return  # it was cut off while it was written, and nobody was told of it
            yield found
            at += _HEADER.size + length


def _allocate(fd: int, at: int, size_bytes: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(fd, at, size_bytes)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
        else:
            return
    while size_bytes > 0:
        written = os.pwrite(fd, bytes(min(size_bytes, STEP_BYTES)), at)
        at, size_bytes = at + written, size_bytes - written


def _record(ending: Ended) -> bytes:
    outcome, usage = ending.outcome, ending.outcome.usage
    call, body = ending.answer or (None, b"")
    facts = {
        "attempt_id": ending.attempt_id,
        "kind": outcome.kind.value,
        "status": whole(outcome.status),
        "code": outcome.code,
        "message": outcome.message,
        "request_id": outcome.request_id,
        "tokens": usage
        and [
            whole(usage.prompt_tokens),
            whole(usage.completion_tokens),
            whole(usage.cached_tokens),
        ],
        "cost_usd": usd(ending.cost_usd),
        "wall_s": ending.ended_wall_s,
        "call": call and [call.file_id, call.hash, call.k, call.attempt_try],
        "headers": dict(ending.headers),
        "service_s": ending.service_s,
        "finish_reason": ending.finish_reason,
    }
    head = json.dumps(facts).encode()
    found = zlib.compress(_FACTS.pack(len(head)) + head + body, 1)
    return _HEADER.pack(len(found), zlib.crc32(found)) + found


def _ending(found: bytes) -> Ended:
    plain = zlib.decompress(found)
    (length,) = _FACTS.unpack_from(plain)
    end = _FACTS.size + length
    facts = json.loads(plain[_FACTS.size : end])
    usage = answer = None
    if facts["tokens"] is not None:
        prompt, completion, cached = facts["tokens"]
        usage = Usage(prompt_tokens=prompt, completion_tokens=completion, cached_tokens=cached)
    if facts["call"] is not None:
        file_id, hash, k, attempt_try = facts["call"]
        answer = CallId(file_id=file_id, hash=hash, k=k, attempt_try=attempt_try), plain[end:]
    outcome = Outcome(
        kind=OutcomeKind(facts["kind"]),
        **{name: facts[name] for name in ("status", "code", "message", "request_id")},
        usage=usage,
    )
    cost_usd = None if facts["cost_usd"] is None else Decimal(facts["cost_usd"])
    # What an earlier version left there tells no more than its headers.
    besides = (facts["headers"], facts.get("service_s"), facts.get("finish_reason", ""))
    return Ended(facts["attempt_id"], outcome, cost_usd, facts["wall_s"], answer, *besides)
