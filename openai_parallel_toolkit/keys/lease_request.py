"""A place in the queue for a key."""

from __future__ import annotations

from collections.abc import Callable

from ..core.records import Lease, Need


class LeaseRequest:
    """What became of a request for a lease: `lease` or `error` is set, or it still waits."""

    __slots__ = ("_withdraw", "error", "expires_s", "lease", "need", "number", "on_ready")

    def __init__(
        self,
        need: Need,
        on_ready: Callable[[], None],
        withdraw: Callable[[LeaseRequest, BaseException], None],
        expires_s: float | None = None,
    ) -> None:
        self.need = need
        self.on_ready = on_ready
        #: Clock time, seconds, when it fails with LeaseTimeout; None: never.
        self.expires_s = expires_s
        self.number = 0
        self.lease: Lease | None = None
        self.error: BaseException | None = None
        self._withdraw = withdraw

    @property
    def is_waiting(self) -> bool:
        return self.lease is None and self.error is None

    def withdraw(self, error: BaseException) -> None:
        """Want it no more: it fails with `error`, and a lease it was given goes back unused.

        Only for a lease that was not used and will not be. Calls `on_ready` if it still waited.
        """
        self._withdraw(self, error)
