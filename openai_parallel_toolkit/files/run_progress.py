"""Tell other processes how a run goes, through a small file in its state folder.

It is written anew about once a second and stays when the run ends, however that is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ..core.errors import UnsafePath
from ..core.filesystem import atomic_file, open_regular

NAME = "progress.json"
_MOST_BYTES = 4_000_000


def write_progress(state_folder: str, told: Mapping[str, Any]) -> None:
    """Put what is told in the place of what was; a full disk stops no run for its sake."""
    with suppress(OSError):
        quickly = atomic_file(os.path.join(state_folder, NAME), mode=0o600, is_durable=False)
        with quickly as part, open(part, "w", encoding="utf-8") as file:
            json.dump(told, file, default=str)


def read_progress(state_folder: str) -> dict[str, Any]:
    """Return what the newest run told last; nothing, if there is none or it cannot be read."""
    try:
        with open(open_regular(os.path.join(state_folder, NAME)), "rb") as file:
            found = json.loads(file.read(_MOST_BYTES))
    except (OSError, UnsafePath, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
