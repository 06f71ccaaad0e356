"""How a BatchFolder works."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...core.errors import ConfigError
from ...keys.config import Settings
from .pace import Pace


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSettings:
    """How a BatchFolder works."""

    keys: Settings
    #: Files under way at a time.
    batch_size: int = 10
    #: Whether it goes on looking for new files until it is stopped.
    continuous: bool = False
    #: Which files are inputs, by their names.
    pattern: str = "*.jsonl"
    #: URL that all lines must have; "": whatever batches serve.
    endpoint: str = ""
    #: The time that the service may take for a batch.
    completion_window: str = "24h"
    #: Batches that one input may take, when earlier ones leave lines unanswered.
    max_attempts: int = 3
    #: Whether the tokens of all prompts are counted before they are sent.
    count_tokens: bool = False
    #: Where Azure reads inputs by itself, such as "https://<account>.blob.core.windows.net/in";
    #: "": they are sent.
    import_base: str = ""
    #: Where what is under way is kept; on a local disk.
    state_folder: str
    progress: bool = True
    pace: Pace = field(default_factory=Pace)

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: one makes no sense.
        """
        for name in ("batch_size", "max_attempts"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give 1 or more")
