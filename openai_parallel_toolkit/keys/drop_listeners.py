"""Tell, once, that a key was dropped: in the log, and to whoever listens."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..core.logs import logger_of

logger = logger_of(__name__)

DropListener = Callable[[str, str], None]


class DropListeners:
    """Needs no lock: each step is one operation on a dict, and telling works on a copy."""

    def __init__(self) -> None:
        self._listeners: dict[object, DropListener] = {}

    def add(self, listener: DropListener) -> Callable[[], None]:
        """Have `listener(name, reason)` called at each drop; return what ends that."""
        token = object()
        self._listeners[token] = listener

        def unsubscribe() -> None:
            self._listeners.pop(token, None)

        return unsubscribe

    def tell(self, dropped: Mapping[str, str]) -> None:
        """Tell why keys were dropped, by name; never under a lock."""
        for name, reason in dropped.items():
            logger.warning(
                "key %s is dropped: %s; it is not asked again in this run",
                name,
                reason,
                extra={"action": "key_dropped", "key": name},
            )
            for listener in list(self._listeners.values()):
                listener(name, reason)
