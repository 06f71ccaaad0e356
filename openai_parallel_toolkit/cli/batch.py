"""`batch`: send a folder of ready-made batch files, and collect the results."""

from __future__ import annotations

import argparse
import os

from ..api.batch_folder import BatchFolder, FolderSettings
from ..api.batch_folder.config import VARIABLE
from ..api.batch_folder.templates import write_templates
from ..core.command_line import command
from ..core.errors import UsageError
from . import console
from .exits import OK, SOME_FAILED
from .settings import add_settings, given_settings

_EPILOG = """\
  batch IN OUT [ERR]        send the *.jsonl files of IN; results to OUT, failures to ERR
  batch --config FILE       the same, with places and keys from a file (see --init)
  batch status OUT          what is under way, also while a run is on
  batch failures ERR        all lines and files that failed, as one list
  batch cancel OUT          stop what is at the provider; the next run collects what was answered

FILE is a batch.json, a config.json with keys, or the app_config.json of the Azure batch
accelerator; without it APP_CONFIG in the environment names it, else the keys come from there.
Stop it with Ctrl-C and give the same command again, today or tomorrow: batches go on meanwhile.
`batch cancel` works for folders of `run --mode batch` as well. Each has a --help of its own.
"""
_PARTS = ("status", "failures", "cancel")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = _EPILOG
    parser.add_argument("places", metavar="PLACE", nargs="*", help="folders or URLs, see below")
    parser.add_argument("--init", metavar="DIR", help="write templates of such files into DIR")
    parser.add_argument("--state-path", metavar="DIR", help="a local folder for what is under way")
    add_settings(parser, FolderSettings, config="places, settings and keys")


def run(arguments: argparse.Namespace) -> int:
    """Write templates, or send the folder."""
    if arguments.init is not None:
        console.say("\n".join(write_templates(arguments.init)))
        console.note(f"fill in what stands in <...>, then: {command('batch', '--config')} FILE")
        return OK
    if not arguments.places and arguments.config is None and VARIABLE not in os.environ:
        raise UsageError(
            "give IN and OUT, or --config FILE that names them (see "
            f"`{command('batch', '--help')}`)"
        )
    if arguments.places and arguments.places[0] in _PARTS:
        word = arguments.places[0]
        raise UsageError(f"put {word!r} right behind `batch`, before any option")
    if len(arguments.places) > 3:
        raise UsageError("give at most three places: IN OUT ERR")
    settings = given_settings(arguments, FolderSettings)
    state_path = arguments.state_path
    folder = BatchFolder(arguments.config, *arguments.places, **settings, state_path=state_path)
    tells_itself = folder.settings.progress
    summary = console.show(folder.run, as_json=arguments.json, tells_itself=tells_itself)
    return SOME_FAILED if summary.failed or summary.partly_failed or summary.left else OK
