"""`estimate`: what a job will take, from a few of its files."""

from __future__ import annotations

import argparse

from ..core.errors import RunStopped, ToolkitError
from . import console
from .exits import OK, SOME_FAILED
from .run import add_run, toolkit_of

_EPILOG = """\
The files of the sample are worked on in full: they are done, and `run` does not pay for them again.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options: those of `run`, and its own."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "--sample",
        type=_amount,
        metavar="N",
        help="files to work on, or a share below 1 (0.01, at least 5 files, at most 100)",
    )
    parser.add_argument(
        "--tokens-only",
        action="store_true",
        help="send nothing; count the prompts of each file's first calls",
    )
    add_run(parser, leave_out=("dry_run", "file_count"))


def _amount(text: str) -> float:
    try:
        amount = float(text) if "." in text else int(text)
    except ValueError:
        amount = 0
    if amount <= 0 or (amount > 1 and amount != int(amount)):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a count nor a share such as 0.01")
    return amount


def run(arguments: argparse.Namespace) -> int:
    """Work on the sample and print the forecast."""
    toolkit = toolkit_of(arguments)
    try:
        with console.apart_from_json(arguments.json):
            found = toolkit.estimate(arguments.sample, tokens_only=arguments.tokens_only)
    except (RunStopped, ToolkitError) as exc:
        if exc.summary is not None and not arguments.json and not toolkit.options.progress:
            console.say_stopped(exc, exc.summary)
        raise
    console.show(lambda: found, as_json=arguments.json)
    return SOME_FAILED if found.failed else OK
