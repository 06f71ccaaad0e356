"""`keys`: list, check and restore keys; a key's value is never shown."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Any

from ..core.clock import SystemClock
from ..core.command_line import command
from ..core.errors import UsageError
from ..core.text import visible
from ..journal import Journal
from ..keys.config import APIKey, Settings, load_settings
from . import console, words
from .exits import NO_USABLE_KEY, OK, SOME_FAILED
from .place import add_state_path, locked

_EPILOG = """\
--check asks each key's server for its list of models, which costs nothing: it tells whether the
key is accepted, not whether there is quota left. The exit status is 0 when all keys are alive, 1
when some are, 4 when none is.
"""
_SHOWN = (
    "name",
    "group",
    "rpm",
    "tpm",
    "max_concurrent_requests",
    "api_base",
    "azure_deployment",
    "api_version",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "--config", metavar="FILE", help="a config.json; without it the environment, as in `run`"
    )
    actions = parser.add_mutually_exclusive_group()
    actions.add_argument("--check", action="store_true", help="ask the servers, free of charge")
    actions.add_argument(
        "--restore",
        nargs="+",
        metavar="NAME",
        help="offer keys again that were dropped, because they were topped up for example",
    )
    parser.add_argument("--output", metavar="OUT", help="the output folder of --restore")
    add_state_path(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(arguments: argparse.Namespace) -> int:
    """List the keys, or check or restore them."""
    settings = load_settings(arguments.config)
    if arguments.restore is not None:
        return _restore(settings, arguments)
    rows = [_row(key, settings) for key in settings.api_keys]
    code = _check(settings, rows) if arguments.check else OK
    if arguments.json:
        console.say_json(rows)
    else:
        console.say(_table(rows))
    return code


def _row(key: APIKey, settings: Settings) -> dict[str, Any]:
    row = {name: getattr(key, name) for name in _SHOWN}
    return {**row, "group": key.group or key.name, "api_base": key.api_base or settings.api_base}


def _check(settings: Settings, rows: Sequence[dict[str, Any]]) -> int:
    from .keycheck import check_keys

    for row, health in zip(rows, check_keys(settings), strict=True):
        row.update(asdict(health))
    alive = sum(row["state"] == "alive" for row in rows)
    return OK if alive == len(rows) else SOME_FAILED if alive else NO_USABLE_KEY


def _table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows in columns, without those columns that are empty."""
    names = [name for name in rows[0] if any(row[name] not in (None, "") for row in rows)]
    cells = ([visible(str(row[n])) if row[n] is not None else "-" for n in names] for row in rows)
    return words.columns([[name.replace("_", " ") for name in names], *cells])


def _restore(settings: Settings, arguments: argparse.Namespace) -> int:
    if arguments.output is None:
        raise UsageError("--restore needs --output OUT: drops are remembered for each folder")
    keys = {key.name: key for key in settings.api_keys}
    missing = [name for name in arguments.restore if name not in keys]
    if missing:
        raise UsageError(
            f"no key is named {', '.join(missing)}; `{command('keys')}` lists the names"
        )
    done = {}
    with (
        locked(arguments.output, arguments.state_path) as folder,
        closing(Journal.open(folder, clock=SystemClock())) as journal,
    ):
        dropped = journal.dropped_keys()
        for name in arguments.restore:
            fingerprint = keys[name].secret.fingerprint(journal.salt)
            done[name] = fingerprint in dropped
            if done[name]:
                journal.key_restored(fingerprint)
    if arguments.json:
        console.say_json(done)
    else:
        for name, was_dropped in done.items():
            console.say(f"{name}: {'is offered again' if was_dropped else 'was not dropped'}")
    return OK
