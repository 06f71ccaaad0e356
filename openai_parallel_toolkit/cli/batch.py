"""`batch`: send a folder of ready-made batch files, and collect the results."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import nullcontext, redirect_stdout
from typing import Any

from ..api.batch_folder import BatchFolder
from ..api.batch_folder.config import VARIABLE
from ..api.batch_folder.templates import write_templates
from ..core.errors import RunStopped, ToolkitError, UsageError
from . import console
from .exits import OK, SOME_FAILED

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
_SETTINGS = (
    "batch_size",
    "continuous",
    "pattern",
    "endpoint",
    "completion_window",
    "max_attempts",
    "count_tokens",
    "state_path",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = _EPILOG
    parser.add_argument("places", metavar="PLACE", nargs="*", help="folders or URLs, see below")
    parser.add_argument("--config", metavar="FILE", help="places, settings and keys")
    parser.add_argument("--init", metavar="DIR", help="write templates of such files into DIR")
    parser.add_argument(
        "--batch-size", type=int, metavar="N", help="files under way at a time (10)"
    )
    parser.add_argument(
        "--continuous",
        action="store_true",
        default=None,
        help="go on looking for new files every minute, until stopped with Ctrl-C",
    )
    parser.add_argument("--pattern", metavar="GLOB", help='names of inputs ("*.jsonl")')
    parser.add_argument("--endpoint", metavar="URL", help="what all lines must ask for")
    parser.add_argument(
        "--completion-window", metavar="TIME", help="what the service may take (24h)"
    )
    parser.add_argument(
        "--max-attempts", type=int, metavar="N", help="batches that one file may take (3)"
    )
    parser.add_argument(
        "--count-tokens", action="store_true", default=None, help="count the prompts' tokens"
    )
    parser.add_argument("--state-path", metavar="DIR", help="a local folder for what is under way")
    parser.add_argument("--no-progress", dest="progress", action="store_false", help="draw no bar")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Write templates, or send the folder."""
    if arguments.init is not None:
        console.say("\n".join(write_templates(arguments.init)))
        console.note("fill in what stands in <...>, then: batch --config FILE")
        return OK
    if not arguments.places and arguments.config is None and VARIABLE not in os.environ:
        raise UsageError("give IN and OUT, or --config FILE that names them (see `batch --help`)")
    if arguments.places and arguments.places[0] in _PARTS:
        word = arguments.places[0]
        raise UsageError(f"put {word!r} right behind `batch`, before any option")
    return _send(arguments)


def _send(arguments: argparse.Namespace) -> int:
    if len(arguments.places) > 3:
        raise UsageError("give at most three places: IN OUT ERR")
    folder = BatchFolder(
        arguments.config, *arguments.places, **_settings(arguments), progress=arguments.progress
    )
    try:
        with redirect_stdout(sys.stderr) if arguments.json else nullcontext():
            summary = folder.run()
    except (RunStopped, ToolkitError) as exc:
        told = getattr(exc, "summary", None)
        if told is not None and arguments.json:
            console.say_json(told.as_dict())
        elif told is not None and not arguments.progress:
            console.say_stopped(exc, told)
        raise
    if arguments.json:
        console.say_json(summary.as_dict())
    elif not arguments.progress:
        console.say(str(summary))
    return SOME_FAILED if summary.failed or summary.partly_failed or summary.left else OK


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in _SETTINGS}
