"""Say what the results of an input are called: our way, or the Azure batch accelerator's."""

from __future__ import annotations

import posixpath
from datetime import datetime, timezone
from typing import NamedTuple

from .settings import Names


class ResultNames(NamedTuple):
    """How the files are called that come of one input."""

    #: Below the output and the error folder; with the time when the input was taken.
    folder: str
    output: str
    error: str
    metadata: str


def result_names(path: str, taken_wall_s: float, names: Names) -> ResultNames:
    """Return the names for an input below the input folder.

    The accelerator cuts at the first dot, keeps the input's extension throughout, and stamps with
    the machine's own time. Source: https://github.com/Azure-Samples/aoai-batch-api-accelerator,
    code/Utilities.py and AzureBatch.py (read 2026-11).
    """
    parent, name = posixpath.split(path)
    if names == "accelerator":
        base, result = name.split(".")[0], name.rpartition(".")[2]
        metadata, stamp = result, f"{datetime.fromtimestamp(taken_wall_s):%Y-%m-%d_%H_%M_%S}"  # noqa: DTZ006
    else:
        base, result, metadata = posixpath.splitext(name)[0], "jsonl", "json"
        stamp = f"{datetime.fromtimestamp(taken_wall_s, timezone.utc):%Y-%m-%dT%H-%M-%SZ}"
    return ResultNames(
        folder=posixpath.join(parent, f"{base}_{stamp}"),
        output=f"{base}_output.{result}",
        error=f"{base}_error.{result}",
        metadata=f"{base}_metadata.{metadata}",
    )
