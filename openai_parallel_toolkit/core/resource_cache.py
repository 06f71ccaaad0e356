"""What is opened when first asked for and closed with its owner."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar


class Closable(Protocol):
    """What can be attached."""

    def close(self) -> None:
        """Let go of everything; called once."""
        ...


Thing = TypeVar("Thing", bound=Closable)


class ResourceCache:
    """Things by name. One lock guards them, also while one is opened: nobody opens it twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._things: dict[str, Any] = {}

    def get(self, name: str, make: Callable[[], Thing]) -> Thing:
        """Return the one thing of this name, made when first asked for."""
        with self._lock:
            if name not in self._things:
                self._things[name] = make()
            return self._things[name]  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close all of them."""
        with self._lock:
            things, self._things = self._things, {}
        for thing in things.values():
            thing.close()
