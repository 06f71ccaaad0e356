"""What is opened when first asked for and closed with its owner."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar


class Closable(Protocol):
    """What can be kept here."""

    def close(self) -> None:
        """Let go of everything; called once."""
        ...


Resource = TypeVar("Resource", bound=Closable)


class ResourceCache:
    """Resources by name. One lock guards them, also while one is opened: none is opened twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._resources: dict[str, Any] = {}

    def get(self, name: str, make: Callable[[], Resource]) -> Resource:
        """Return the one resource of this name, made when first asked for."""
        with self._lock:
            if name not in self._resources:
                self._resources[name] = make()
            return self._resources[name]  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close all of them."""
        with self._lock:
            resources, self._resources = self._resources, {}
        for resource in resources.values():
            resource.close()
