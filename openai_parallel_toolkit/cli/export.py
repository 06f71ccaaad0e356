"""`export`: what was asked and answered, as a table in a file."""

from __future__ import annotations

import argparse
import sys

from ..core.errors import StorageError
from ..core.text import counted
from ..files.tables import FORMATS, JSONL
from ..view.export import export, export_to
from ..view.export_rows import CALLS, TABLES
from . import console
from .exits import OK
from .place import add_place

_EPILOG = """\
calls.csv, files.csv and failures.csv hold what they are called; any other name holds the calls,
unless --what says otherwise. The run may be on, and is not disturbed. FILE is written anew, and is
there when it is whole. docs/how-to/export.md names the columns.
"""
#: Standard output.
_STDOUT = "-"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = _EPILOG
    add_place(parser)
    parser.add_argument(
        "file", metavar="FILE", help=f"ends in {', '.join(f'.{one}' for one in FORMATS)}; - prints"
    )
    parser.add_argument("--what", choices=TABLES, help="which table")
    parser.add_argument("--format", choices=FORMATS, help="whatever FILE ends in")


def run(arguments: argparse.Namespace) -> int:
    """Write the table and say how long it is."""
    how = {"state_path": arguments.state_path}
    if arguments.file != _STDOUT:
        count, unit = export(
            arguments.output_path,
            arguments.file,
            what=arguments.what,
            format=arguments.format,
            **how,
        )
        console.say(f"{arguments.file}: {counted(count, unit)}")
        return OK
    try:
        export_to(
            sys.stdout.buffer,
            arguments.output_path,
            what=arguments.what or CALLS,
            format=arguments.format or JSONL,
            **how,
        )
        sys.stdout.buffer.flush()
    except OSError as exc:
        raise StorageError(f"standard output: {exc.strerror}", errno=exc.errno) from exc
    return OK
