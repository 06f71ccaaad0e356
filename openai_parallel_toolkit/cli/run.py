"""`run`: work through a folder."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from typing import Any

from ..api.toolkit import ParallelToolkit
from ..core.errors import RunStopped, ToolkitError, UsageError
from . import console
from .exits import OK, SOME_FAILED
from .load import load_toolkit

_NOT_SETTINGS = ("target", "json", "run", "sample", "tokens_only")
_EPILOG = """\
The module is imported: a run() of its own belongs below `if __name__ == "__main__":`.
Stop it with Ctrl-C and run it again: what was answered is not paid for again.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = _EPILOG
    add_settings(parser)


def add_settings(parser: argparse.ArgumentParser, *, leave_out: Sequence[str] = ()) -> None:
    """Add TARGET, IN, OUT and the settings; one that is not given is left to the subclass."""
    parser.argument_default = argparse.SUPPRESS
    parser.add_argument(
        "target",
        metavar="TARGET",
        help="module:Class or path/to/file.py:Class; without :Class when there is only one",
    )
    parser.add_argument("input_path", metavar="IN", help="a folder, or one file; or its URL")
    parser.add_argument("output_path", metavar="OUT", help="the folder for outputs, or its URL")
    parser.add_argument(
        "--json",
        action="store_true",
        default=False,
        help="print the summary as JSON; all else goes to standard error",
    )
    for title, options in (("which files", _WHICH), ("how", _HOW), ("patience", _PATIENCE)):
        group = parser.add_argument_group(title)
        for option, settings in options.items():
            if option not in leave_out:
                group.add_argument(option, **settings)


def _failures(text: str) -> int | float:
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a count nor a share such as 0.1; give it as --fail-on-error=N, "
            "or put a bare --fail-on-error last"
        ) from None


def _count(help: str, **settings: Any) -> dict[str, Any]:
    return {"type": int, "metavar": "N", "help": help, **settings}


def _seconds(dest: str, help: str) -> dict[str, Any]:
    return {"dest": dest, "type": float, "metavar": "S", "help": help}


def _globs(help: str) -> dict[str, Any]:
    return {"action": "append", "metavar": "GLOB", "help": help}


def _flag(help: str) -> dict[str, Any]:
    return {"action": "store_true", "help": help}


def _off(dest: str, help: str) -> dict[str, Any]:
    return {"dest": dest, "action": "store_false", "help": help}


#: Options and how argparse is to read them; each ends up under its ParallelToolkit name.
_WHICH: dict[str, dict[str, Any]] = {
    "--file-count": _count("work on N files, then stop"),
    "--pattern": _globs("only inputs that match; may be given again"),
    "--exclude": _globs("leave these inputs and folders out; may be given again"),
    "--no-recursive": _off("recursive", "leave out the folders inside IN"),
    "--retry-failed": _flag("also files that were put aside"),
    "--force": _flag("also files that are done; answers that were paid for are reused"),
    "--max-file-attempts": _count("put a file aside after N runs in which it failed"),
}
_HOW: dict[str, dict[str, Any]] = {
    "--config": {
        "dest": "config_path",
        "default": None,
        "metavar": "FILE",
        "help": "a config.json; without it the environment, then ./config.json",
    },
    "--threads": _count("files under way at a time", dest="num_threads"),
    "--mode": {
        "choices": ("live", "batch"),
        "help": "send now, or collect into batches at half price, within a day",
    },
    "--finish": {
        "choices": ("batch", "live"),
        "help": "in batch mode: how to send what a batch came back without",
    },
    "--max-batch-rounds": _count("how often a file may wait for answers, in batch mode"),
    "--max-cost": {
        "metavar": "USD",
        "help": "what all runs of OUT may cost together; a request that could pass it is not sent",
    },
    "--dry-run": _flag("tell what would be done and asked; nothing is sent"),
    "--binary": _flag("open inputs as binary files"),
    "--encoding": {"help": "of text inputs (utf-8)"},
    "--output-names": {"choices": ("stem", "whole"), "help": "a.txt gives a.json, or a.txt.json"},
    "--fail-on-error": {
        "nargs": "?",
        "const": True,
        "type": _failures,
        "metavar": "N",
        "help": "stop at the first failed file, or after more than N (a count or a share below 1)",
    },
    "--state-path": {"metavar": "DIR", "help": "a local folder for the journal, instead of in OUT"},
    "--log-file": {"metavar": "FILE", "help": "where to append what the toolkit logs"},
    "--no-progress": _off("progress", "draw no bar"),
}
_PATIENCE: dict[str, dict[str, Any]] = {
    "--grace": _seconds("grace_s", "seconds that requests in flight get after Ctrl-C"),
    "--hook-timeout": _seconds("hook_timeout_s", "seconds of a hook's own work before it is left"),
    "--deadline": _seconds("deadline_s", "seconds for one call with all its retries"),
    "--request-timeout": _seconds("request_timeout_s", "seconds for one attempt"),
    "--max-retries": _count("re-sends of a call after a server error"),
    "--max-unknown": _count("re-sends of a call whose answer was lost and may be billed"),
}


def run(arguments: argparse.Namespace) -> int:
    """Run the subclass that TARGET names over IN."""
    return see_through(toolkit_of(arguments), as_json=arguments.json)


def toolkit_of(arguments: argparse.Namespace) -> ParallelToolkit:
    """Make the toolkit that TARGET names, with the settings that were given."""
    settings = {n: v for n, v in vars(arguments).items() if n not in _NOT_SETTINGS}
    # What the hooks print must not stand among the JSON.
    with redirect_stdout(sys.stderr) if arguments.json else nullcontext():
        return _make(load_toolkit(arguments.target), settings)


def see_through(toolkit: ParallelToolkit, *, as_json: bool = False) -> int:
    """Run a toolkit, show its summary however it ends, and return the exit status.

    Raises:
        RunStopped, ToolkitError: as `ParallelToolkit.run` does.
    """
    try:
        with redirect_stdout(sys.stderr) if as_json else nullcontext():
            summary = toolkit.run()
    except (RunStopped, ToolkitError) as exc:
        _show_stopped(exc, toolkit, as_json=as_json)
        raise
    if as_json:
        console.say_json(summary.as_dict())
    elif not toolkit.options.progress:
        console.say(str(summary))
    return SOME_FAILED if summary.failed or summary.aside else OK


def _make(kind: type[ParallelToolkit], settings: Mapping[str, Any]) -> ParallelToolkit:
    try:
        inspect.signature(kind).bind(**settings)
    except TypeError as exc:
        raise UsageError(
            f"{kind.__name__}.__init__ does not fit the command line ({exc}); let it take "
            "**settings and hand them on to ParallelToolkit"
        ) from exc
    return kind(**settings)


def _show_stopped(error: BaseException, toolkit: ParallelToolkit, *, as_json: bool) -> None:
    summary = getattr(error, "summary", None)
    if summary is not None and as_json:
        console.say_json(summary.as_dict())
    elif summary is not None and not toolkit.options.progress:
        console.say_stopped(error, summary)
