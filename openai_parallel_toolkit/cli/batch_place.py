"""Find what a BatchFolder, or `run --mode batch`, has under way."""

from __future__ import annotations

import argparse
import os

from ..api.batch_folder.config import VARIABLE, BatchFolderPlan, read_plan
from ..api.batch_folder.status import has_folder
from ..core.errors import UsageError
from .place import state_folder

_PLACES = ("input_path", "output_path", "error_path")


def add_places(parser: argparse.ArgumentParser, one: str) -> None:
    """Add the places and --config; `one` is the place that is enough."""
    parser.add_argument(
        "places", metavar=one, nargs="*", help=f"{one} alone, or IN OUT ERR as `batch` was given"
    )
    parser.add_argument("--config", metavar="FILE", help="the one that `batch` was given, if any")


def check_places(arguments: argparse.Namespace, command: str) -> None:
    """Refuse a command that names no place, or too many.

    Raises:
        UsageError: it does.
    """
    if len(arguments.places) > len(_PLACES):
        raise UsageError("give at most three places: IN OUT ERR")
    if not arguments.places and arguments.config is None and VARIABLE not in os.environ:
        raise UsageError(f"`{command}` wants a folder to look at (see `{command} --help`)")


def state_of(arguments: argparse.Namespace) -> str:
    """Return the state folder of OUT, of IN OUT, or of what the configuration says.

    Raises:
        UsageError: no run has begun there.
        ConfigError: the configuration cannot be used.
    """
    if len(arguments.places) == 1:
        return state_folder(arguments.places[0], arguments.state_path)
    folder = plan_of(arguments, state_path=arguments.state_path).settings.state_folder
    if not has_folder(folder):
        raise UsageError(f"no batch run has begun there (there is no {folder})")
    return folder


def plan_of(arguments: argparse.Namespace, *, state_path: str | None = None) -> BatchFolderPlan:
    """Return what `batch` was told.

    Raises:
        ConfigError: it cannot be used.
    """
    places = dict(zip(_PLACES, arguments.places, strict=False))
    return read_plan(arguments.config, {**places, "state_path": state_path})
