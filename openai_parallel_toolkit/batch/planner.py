"""Choose which queued calls make the next batch, and which key gets it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..core.clock import Clock
from ..core.errors import ConfigError, ToolkitError
from ..core.records import Lease, Need, Outcome, OutcomeKind
from ..journal.batch_rows import Line, Queued, Refusal
from ..journal.batch_store import BatchStore
from .batch_budget import BatchBudget
from .key_clients import KeyClients
from .options import BatchOptions
from .service.check import MAX_EMBEDDINGS
from .token_quota import Bound, EnqueuedTokenQuota

#: A line's frame in its file: id, method and URL.
_FRAME_BYTES = 160
#: Lines that are set aside at a time.
_PAGE = 1_000


@dataclass(kw_only=True, eq=False)
class BatchPlanner:
    """Forms no batch that is too large, costs too much or has no room at its provider."""

    store: BatchStore
    clients: KeyClients
    quota: EnqueuedTokenQuota
    budget: BatchBudget
    options: BatchOptions
    clock: Clock
    #: Whether only calls that were in no batch yet are chosen.
    is_fresh: bool
    #: Why something is queued that cannot leave; "": nothing is.
    waiting: str = ""

    def queued(self) -> list[Queued]:
        """Return what waits for a batch, by path and model."""
        return self.store.queued(is_fresh=self.is_fresh)

    def set_aside(self, queued: Queued) -> bool:
        """Take out lines that no key can ever take; return whether there was one.

        They are sent live where lines that were in a batch are, and refused elsewhere.
        """
        leases = self.clients.leases(queued.model)
        bounds = {one.key_name: self.quota.bound(one.key_name, queued.model) for one in leases}
        if not bounds:
            return False
        name = max(bounds, key=lambda name: bounds[name].tokens)
        bound, is_found = bounds[name], False
        while queued.most_tokens > bound.tokens and (
            lines := self.store.lines(
                queued.path,
                queued.model,
                _PAGE,
                is_fresh=self.is_fresh,
                above_tokens=bound.tokens,
            )
        ):
            is_found = True
            self.store.set_aside(
                {
                    line.id: None if self.is_fresh else _too_large(line, queued.model, name, bound)
                    for line in lines
                }
            )
        return is_found

    def choose(self, queued: Queued, *, is_flush: bool) -> tuple[Lease, Sequence[Line]] | None:
        """Return key and lines of the next batch of a model; None: none can leave now.

        Args:
            is_flush: one that is not full may leave as well.

        Raises:
            ToolkitError: none can ever leave: there is no key for it, or no money.
        """
        lease, room = self._owner(queued.model)
        if not room:
            self.waiting = f"no room for more batches of {queued.model} now"
            return None
        options = self.options
        is_full = (
            queued.lines >= options.max_lines
            or queued.size_bytes >= options.max_bytes
            or queued.inputs >= MAX_EMBEDDINGS
            or queued.tokens >= room
        )
        waited_s = self.clock.wall_s() - queued.oldest_wall_s
        if not (is_full or is_flush or waited_s >= options.max_age_s):
            return None
        lines = self.store.lines(
            queued.path,
            queued.model,
            options.max_lines,
            is_fresh=self.is_fresh,
            up_to_tokens=self.quota.bound(lease.key_name, queued.model).tokens,
        )
        fitting = self._fitting(lines, room, self.quota.most(lease.key_name, queued.model))
        if not fitting:
            self.waiting = f"no room for more batches of {queued.model} now"
            return None
        affordable = self.budget.affordable(fitting, queued.model)
        if not affordable:
            self.waiting = "max_cost: batches at work may give money back"
            return None
        return lease, affordable

    def _owner(self, model: str) -> tuple[Lease, float]:
        """Return the key that gets the next batch, and how many tokens it has room for."""
        leases = self.clients.leases(model)
        if not leases:
            raise self._nobody(model)
        return self.quota.choose(leases, model, self.clock.now_s())

    def _fitting(self, lines: Sequence[Line], room: float, most: float) -> Sequence[Line]:
        """Return as many of the first lines as fit; one that never fits goes alone."""
        size_bytes = tokens = inputs = 0
        for count, line in enumerate(lines):
            size_bytes += line.size_bytes + _FRAME_BYTES
            tokens += line.tokens
            inputs += line.inputs
            is_too_large = bool(count) and (
                size_bytes > self.options.max_bytes or inputs > MAX_EMBEDDINGS
            )
            if is_too_large or (tokens > room and (count or tokens <= most)):
                return lines[:count]
        return lines

    def _nobody(self, model: str) -> ToolkitError:
        barred = self.clients.barred(model)
        if barred is not None:
            return ConfigError(
                f"no key has a Batch API for {model}: the server does not know the address or the "
                f'model ({barred.code}: {barred.message}); use mode="live", or keys of a provider '
                "that has both",
                model=model,
            )
        ticket = self.clients.keys.request(Need(model=model, tokens=0), lambda: None)
        ticket.withdraw(ConfigError())
        return ticket.error if isinstance(ticket.error, ToolkitError) else ConfigError()


def _too_large(line: Line, model: str, key_name: str, bound: Bound) -> Refusal:
    message = (
        f"its prompt has {line.tokens:,} tokens, more than may ever wait in batches of {model}: "
        f"the key {key_name} has the highest limit, {bound.tokens:,.0f} tokens ({bound.why}); "
        'raise it, or use finish="live" or mode="live"'
    )
    outcome = Outcome(kind=OutcomeKind.UNSENT, code="too_many_tokens", message=message)
    return Refusal.of(outcome, attempts=0)
