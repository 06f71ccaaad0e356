"""`batch failures`: the lines and files of batch runs that failed, as one list."""

from __future__ import annotations

import argparse
import os
from contextlib import closing
from dataclasses import asdict

from ..api.batch_folder.failures import Failure, failures
from ..core.errors import UsageError
from ..files.stores import is_remote, open_store
from ..files.stores.urls import local_path
from . import console, words
from .batch_place import add_places, check_places, plan_of
from .exits import OK


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_places(parser, "ERR")
    parser.add_argument("--json", action="store_true", help="print them as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print what failed, of all error files together."""
    check_places(arguments, "batch failures")
    place = arguments.places[0] if len(arguments.places) == 1 else None
    if place is not None and not is_remote(place) and not os.path.isdir(local_path(place)):
        raise UsageError(f"there is no folder {place!r}; name the error location of a batch run")
    with closing(plan_of(arguments).error.open() if place is None else open_store(place)) as store:
        found = list(failures(store))
    if arguments.json:
        console.say_json([asdict(one) for one in found])
    elif found:
        console.say(words.columns([_FAILURE_HEAD, *map(_failure_row, found)]))
    else:
        console.say(f"nothing failed in {store.url()}")
    return OK


_FAILURE_HEAD = ("File", "line", "status", "code", "message")
_MESSAGE_CHARACTERS = 100


def _failure_row(one: Failure) -> tuple[str, ...]:
    line = one.custom_id if one.custom_id is not None else str(one.line or "-")
    message = words.shorten(words.clean(one.message), _MESSAGE_CHARACTERS)
    status = str(one.status or "-")
    return words.clean(one.file), words.clean(line), status, words.clean(one.code), message
