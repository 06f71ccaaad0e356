"""`run` and `estimate`: work through a folder, or through a few of its files."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Sequence
from contextlib import ExitStack

from ..api.toolkit import ParallelToolkit
from ..core.errors import RunStopped, ToolkitError, UsageError
from ..runs.options import RunOptions
from . import console
from .exits import OK, SOME_FAILED
from .load import load_toolkit
from .settings import add_settings, given_settings

_EPILOG = """\
For example: run briefs.py texts out --pattern "*.txt" --max-cost 5
What is not given is as your subclass has it, else as it stands in brackets.
The module is imported: a run() of its own belongs below `if __name__ == "__main__":`.
Stop it with Ctrl-C and run it again: what was answered is not paid for again.
"""

_ESTIMATE_EPILOG = """\
For example: run briefs.py texts out --pattern "*.txt" --max-cost 5
The files of the sample are worked on in full: they are done, and `run` does not pay for them again.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = _EPILOG
    add_run(parser)
    parser.add_argument(
        "--view", action="store_true", default=False, help="show it in the browser meanwhile"
    )


def add_run(parser: argparse.ArgumentParser, *, leave_out: Sequence[str] = ()) -> None:
    """Add TARGET, IN, OUT, --json and the settings; one that is not given is the subclass's own."""
    parser.add_argument(
        "target",
        metavar="TARGET",
        help="module:Class or path/to/file.py:Class; without :Class when there is only one",
    )
    parser.add_argument("input_path", metavar="IN", help="a folder, or one file; or its URL")
    parser.add_argument("output_path", metavar="OUT", help="the folder for outputs, or its URL")
    add_settings(parser, RunOptions, leave_out=leave_out)


def run(arguments: argparse.Namespace) -> int:
    """Run the subclass that TARGET names over IN."""
    toolkit = toolkit_of(arguments)
    with ExitStack() as stack:
        if arguments.view:
            from .view import beside

            stack.enter_context(beside(toolkit.options))
        return see_through(toolkit, as_json=arguments.json)


def toolkit_of(arguments: argparse.Namespace) -> ParallelToolkit:
    """Make the toolkit that TARGET names, with the settings that were given."""
    settings = given_settings(arguments, RunOptions)
    with console.apart_from_json(arguments.json):
        kind = load_toolkit(arguments.target)
        try:
            inspect.signature(kind).bind(config_path=arguments.config, **settings)
        except TypeError as exc:
            raise UsageError(
                f"{kind.__name__}.__init__ does not fit the command line ({exc}); let it take "
                "**settings and hand them on to ParallelToolkit"
            ) from exc
        return kind(config_path=arguments.config, **settings)


def see_through(toolkit: ParallelToolkit, *, as_json: bool = False) -> int:
    """Run a toolkit, show its summary however it ends, and return the exit status.

    Raises:
        RunStopped, ToolkitError: as `ParallelToolkit.run` does.
    """
    summary = console.show(toolkit.run, as_json=as_json, tells_itself=toolkit.options.progress)
    return SOME_FAILED if summary.failed or summary.aside else OK


def configure_estimate(parser: argparse.ArgumentParser) -> None:
    """Add the command's options: those of `run`, and its own."""
    parser.epilog = _ESTIMATE_EPILOG
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


def run_estimate(arguments: argparse.Namespace) -> int:
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
