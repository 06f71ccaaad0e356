"""Take an input from standard input, and give an output to standard output."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..core.errors import StorageError, UsageError
from ..core.filesystem import storage_errors
from ..files.run_folders import user_state_folder

#: What stands for either stream.
STREAM = "-"


@contextmanager
def spooled(settings: dict[str, Any], format: str) -> Iterator[dict[str, Any]]:
    """Yield settings in which a file holds what standard input gave, where that is the input."""
    if settings["input_path"] != STREAM:
        yield settings
        return
    if sys.stdin is None:
        raise UsageError("there is no standard input; name a file of prompts")
    with tempfile.TemporaryDirectory(prefix="prompts-") as folder:
        path = os.path.join(folder, f"standard-input.{format}")
        with storage_errors(path), open(path, "wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        yield {**settings, "input_path": path}


def in_state_folder(settings: dict[str, Any], format: str, what: str) -> dict[str, Any]:
    """Return settings whose output lies in the state folder, where it is to be printed.

    Args:
        what: tells work apart whose answers are not kept together.
    """
    state = settings.get("state_path")
    if state is None:
        which = hashlib.sha256(f"{os.getcwd()} {what}".encode()).hexdigest()[:12]
        state = user_state_folder(f"prompts-{which}")
    folder = os.path.join(state, "outputs")
    with storage_errors(folder):
        os.makedirs(folder, mode=0o700, exist_ok=True)
    output = os.path.join(folder, f"standard-output.{format}")
    return {**settings, "state_path": state, "output_path": output}


def print_file(path: str) -> None:
    """Copy a file to standard output.

    Raises:
        StorageError: standard output is a file, and its disk refused.
    """
    try:
        with open(path, "rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except OSError as exc:
        raise StorageError(f"standard output: {exc.strerror}", errno=exc.errno) from exc
