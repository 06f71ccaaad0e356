"""Let a user's own code call the openai package under the key that was lent to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..core.errors import ToolkitError, UsageError
from ..core.records import Lease, RawReply
from ..core.redaction import Secret
from .base import SendFault


class OpenAIModule:
    """The openai package, made to send under leased keys.

    Importing openai is slow, so that waits for the first use. One lock guards `_clients`, `_users`
    and `_is_closed`.
    """

    def __init__(self, proxy: Secret | None = None) -> None:
        """`proxy` as for `default_transport`."""
        self._proxy = proxy
        self._clients: Any = None
        #: How many threads carry a lease.
        self._users = 0
        self._is_closed = False
        self._lock = threading.Lock()

    @contextmanager
    def carry(self, lease: Lease) -> Iterator[None]:
        """Have this thread's calls of `openai.chat.completions.create` and its kin use `lease`.

        Raises:
            UsageError: openai.http_client was set to a client of the user's own, or it is closed.
        """
        from .openai_client import carry, install

        install(self._proxy)
        clients = self._open(users=1)
        try:
            with carry(lease, clients.http):
                yield
        finally:
            with self._lock:
                self._users -= 1
            self._close_if_unused()

    def client_for(self, lease: Lease) -> Any:
        """Return a ready openai.OpenAI (AzureOpenAI for Azure's keys) that never retries.

        Raises:
            UsageError: it is closed.
        """
        return self._open().client_for(lease)

    def fault_of(self, exc: Exception) -> RawReply | SendFault | None:
        """Return what `Transport.send` would have given; None: it is no error of openai's."""
        from .openai_faults import fault_of

        return fault_of(exc)

    def explain(self, exc: Exception) -> ToolkitError | None:
        """Return the advice for a call that openai has removed; None: it is something else."""
        from .openai_faults import explain

        return explain(exc)

    def close(self) -> None:
        """Close the connections once no thread carries a lease, and let none begin to."""
        with self._lock:
            self._is_closed = True
        self._close_if_unused()

    def _open(self, users: int = 0) -> Any:
        from .openai_client import Clients

        with self._lock:
            if self._is_closed:
                raise UsageError("the key manager was closed; make a new one")
            if self._clients is None:
                self._clients = Clients(self._proxy)
            self._users += users
            return self._clients

    def _close_if_unused(self) -> None:
        # Not from under a thread that reads: the number of its socket may soon be another's.
        with self._lock:
            if not self._is_closed or self._users:
                return
            clients, self._clients = self._clients, None
        if clients is not None:
            clients.close()
