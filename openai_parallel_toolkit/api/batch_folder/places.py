"""Where inputs come from, and where results and what failed go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...core.errors import ConfigError
from ...files.stores import Store, open_store


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where files are."""

    #: A path or a URL.
    url: str
    #: For the backend of a URL; holds credentials.
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def open(self) -> Store:
        """Return the store.

        Raises:
            ConfigError: it cannot be used.
        """
        return open_store(self.url, **self.options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where inputs come from, and where results and what failed go."""

    input: Store
    output: Store
    error: Store

    def __post_init__(self) -> None:
        """Refuse places that would be taken for one another.

        Raises:
            ConfigError: results would be taken for inputs.
        """
        for name in ("output", "error"):
            if getattr(self, name).url() == self.input.url():
                raise ConfigError(
                    f"the {name} location is the input location ({self.input.url()}): its files "
                    "would be taken for inputs; give it a folder of its own"
                )

    def close(self) -> None:
        """Let go of all connections."""
        for store in (self.input, self.output, self.error):
            store.close()
