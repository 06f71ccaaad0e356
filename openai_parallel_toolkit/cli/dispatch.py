"""Read the command line and hand over to the command; errors become one line and a status."""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import Any, NoReturn

from ..core.command_line import PROGRAM, command
from ..core.describe import kind_of, words_of
from ..core.errors import RunStopped, StorageError, ToolkitError, UsageError
from ..core.filesystem import REFUSAL_ERRNOS, named_in, storage_error
from ..core.redaction import Redactor, safe_words
from ..core.signals import StopSignals
from . import console
from .exits import EXIT_CODES, OK, code_of

_MOST_OF_TRACE = 20_000
#: Each is a module here with `configure(parser)` and `run(arguments)`, imported when it is named.
_COMMANDS = {
    "demo": "see it work on this machine: no key, no cost",
    "run": "work through a folder",
    "batch": "send a folder of batch files, and collect the results",
    "prompts": "ask for every line of a file, and write the answers in its order",
    "estimate": "work on a few files, and tell what all of them will take",
    "ctl": "change what a run that is on may do",
    "status": "how the work on an output folder stands",
    "failures": "which files failed, and why",
    "view": "a page in the browser: how it goes, what it costs, what failed, what was answered",
    "report": "the same page as one file, to keep or to send",
    "show": "what is known of one file: its requests, answers and cost",
    "export": "what was asked and answered, as CSV, JSON lines or Parquet",
    "keys": "list, check and restore keys",
    "prune": "drop the kept requests and answers of files that are done",
    "repair": "check the journal (all answers) in full, and save what can be saved",
    "simulate": "run a server that looks like OpenAI's, for rehearsals",
}
#: Commands of two words, likewise; named in the help of their first word.
_PARTS = {
    "batch status": "what is under way, also while a run is on",
    "batch failures": "all lines and files that failed, as one list",
    "batch cancel": "stop what is at the provider, and keep what was answered",
}
#: Commands that live in another one's module, with `configure_NAME` and `run_NAME`.
_SHARED = {
    "estimate": "run",
    "failures": "status",
    "prune": "upkeep",
    "repair": "upkeep",
    "report": "view",
    **dict.fromkeys(_PARTS, "batch_parts"),
}
_EPILOG = "exit status:\n" + "".join(
    f"  {code:<14} {meaning}\n" for code, meaning in EXIT_CODES.items()
)


def dispatch(argv: Sequence[str]) -> int:
    """Carry out a command line and return the exit status."""
    try:
        with StopSignals(raises=True):
            argv = _joined(argv)
            arguments = _parser(argv).parse_args(argv)
            return int(arguments.run(arguments))
    except BaseException as exc:  # noqa: BLE001 - this is where every error ends
        error: BaseException = exc
        if isinstance(exc, OSError) and exc.errno in REFUSAL_ERRNOS:
            error = storage_error(exc, named_in(exc, "the disk"))
        _tell(error)
        code = code_of(error)
        if "--json" in argv and code != OK:
            _tell_json(error, code)
        return code


def _tell_json(error: BaseException, code: int) -> None:
    """Print an error for programs, beside the summary of what it ended."""
    summary = error.summary if isinstance(error, RunStopped | ToolkitError) else None
    told = {"code": kind_of(error), "exit_status": code, "message": _words(error)}
    with suppress(StorageError):  # told already
        console.say_json({**(summary.as_dict() if summary is not None else {}), "error": told})


def _tell(error: BaseException) -> None:
    if isinstance(error, RunStopped):
        console.note(_words(error))
    elif isinstance(error, ToolkitError | KeyboardInterrupt):
        console.complain(_words(error))
    elif isinstance(error, SystemExit):
        if isinstance(error.code, str):
            console.complain(error.code)
    elif sys.stderr is not None:
        trace = safe_words(traceback.format_exc(), Redactor().clean, _MOST_OF_TRACE, keep="\n")
        sys.stderr.write(trace)


def _words(error: BaseException) -> str:
    if isinstance(error, RunStopped):
        return "stopped; run it again to go on"
    if isinstance(error, ToolkitError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return safe_words(words_of(error), Redactor().clean, _MOST_OF_TRACE)


def _joined(argv: Sequence[str]) -> Sequence[str]:
    """Return a command line with a command of two words as one."""
    name = " ".join(argv[:2])
    return [name, *argv[2:]] if name in _PARTS else argv


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM,
        description="Run folders of files through OpenAI-compatible models, and pay once.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    package = importlib.import_module(__package__.partition(".")[0])
    parser.add_argument("--version", action="version", version=package.__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    parts = {name: purpose for name, purpose in _PARTS.items() if name in argv}
    for name, purpose in {**_COMMANDS, **parts}.items():
        subparser = commands.add_parser(
            name,
            help=purpose,
            description=f"{purpose[0].upper()}{purpose[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if name in argv:
            home = _SHARED.get(name)
            suffix = f"_{name.split()[-1]}" if home else ""
            module = importlib.import_module(f".{home or name}", __package__)
            getattr(module, f"configure{suffix}")(subparser)
            subparser.set_defaults(run=getattr(module, f"run{suffix}"))
    return parser


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Refuse here what is not known: the command's own help has the answer."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}{self._offer(unknown)}")
        return found, unknown

    def _offer(self, unknown: Sequence[str]) -> str:
        names = (word.partition("=")[0] for word in unknown if word.startswith("-"))
        near = (get_close_matches(name, self._option_string_actions, 1) for name in names)
        found = [one for some in near for one in some]
        return f"; did you mean {', '.join(found)}?" if found else ""

    def error(self, message: str) -> NoReturn:
        names = self.prog.split()[1:]
        raise UsageError(f"{message} (see `{command(*names, '--help')}`)")
