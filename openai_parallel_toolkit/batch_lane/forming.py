"""Choose which queued calls make the next batch, and which key gets it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..clock import Clock
from ..errors import ConfigError, ToolkitError
from ..journal.batch_book import BatchBook
from ..journal.batch_rows import Line, Queued
from ..keys import APIKeyManager
from ..records import Lease, Need
from .allowance import Allowance
from .options import BatchOptions
from .purse import Purse

#: A line's frame in its file: id, method and URL.
_FRAME_BYTES = 160


class Chosen(NamedTuple):
    """What makes a batch."""

    lease: Lease
    lines: Sequence[Line]


class Former:
    """Forms no batch that is too large, costs too much or has no room at its provider."""

    def __init__(
        self,
        *,
        book: BatchBook,
        keys: APIKeyManager,
        allowance: Allowance,
        purse: Purse,
        options: BatchOptions,
        clock: Clock,
        is_fresh: bool,
    ) -> None:
        """Stand ready.

        Args:
            is_fresh: only calls that were in no batch yet are chosen.
        """
        self._book = book
        self._keys = keys
        self._allowance = allowance
        self._purse = purse
        self._options = options
        self._clock = clock
        self._is_fresh = is_fresh
        #: Keys that have no Batch API for a model, by (key, model).
        self._without: set[tuple[str, str]] = set()
        #: Why something is queued that cannot leave; "": nothing is.
        self.waiting = ""

    def queued(self) -> list[Queued]:
        """Return what waits for a batch, by path and model."""
        return self._book.queued(is_fresh=self._is_fresh)

    def avoid(self, key_name: str, model: str) -> None:
        """Give a key no more batches of a model."""
        self._without.add((key_name, model))

    def choose(self, queued: Queued, *, is_flush: bool) -> Chosen | None:
        """Return the next batch of what is queued for a model; None: none can leave now.

        Args:
            is_flush: one that is not full may leave as well.

        Raises:
            ToolkitError: none can ever leave: there is no key for it, or no money.
        """
        lease, room = self._owner(queued.model)
        if not room:
            self.waiting = f"no room for more tokens in batches of {queued.model}"
            return None
        options = self._options
        is_full = (
            queued.lines >= options.max_lines
            or queued.size_bytes >= options.max_bytes
            or queued.tokens >= room
        )
        waited_s = self._clock.wall_s() - queued.oldest_wall_s
        if not (is_full or is_flush or waited_s >= options.max_age_s):
            return None
        lines = self._book.lines(
            queued.path, queued.model, options.max_lines, is_fresh=self._is_fresh
        )
        fitting = self._fitting(lines, room, self._allowance.most(lease.key_name, queued.model))
        if not fitting:
            if lines:
                self.waiting = f"no room for more tokens in batches of {queued.model}"
            return None
        affordable = self._purse.affordable(fitting, queued.model)
        if not affordable:
            self.waiting = "max_cost: batches at work may give money back"
            return None
        return Chosen(lease, affordable)

    def _owner(self, model: str) -> tuple[Lease, float]:
        """Return the key that gets the next batch, and how many tokens it has room for."""
        passes = [
            lease
            for lease in self._keys.passes(model)
            if (lease.key_name, model) not in self._without
        ]
        if not passes:
            raise self._nobody(model)
        return self._allowance.choose(passes, model, self._clock.now_s())

    def _fitting(self, lines: Sequence[Line], room: float, most: float) -> Sequence[Line]:
        """Return as many of the first lines as fit; one that never fits goes alone."""
        size_bytes = tokens = 0
        for count, line in enumerate(lines):
            size_bytes += line.size_bytes + _FRAME_BYTES
            tokens += line.tokens
            is_too_large = bool(count) and size_bytes > self._options.max_bytes
            if is_too_large or (tokens > room and (count or tokens <= most)):
                return lines[:count]
        return lines

    def _nobody(self, model: str) -> ToolkitError:
        if self._without:
            return ConfigError(
                f"no key has a Batch API for {model}: the server does not know the address or the "
                'model; use mode="live", or keys of a provider that has both',
                model=model,
            )
        ticket = self._keys.request(Need(model=model, tokens=0), lambda: None)
        ticket.withdraw(ConfigError())
        return ticket.error if isinstance(ticket.error, ToolkitError) else ConfigError()
