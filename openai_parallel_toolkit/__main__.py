"""`openai-parallel-toolkit`, also as `python -m openai_parallel_toolkit`."""

from __future__ import annotations

import sys

from .cli import console
from .cli.dispatch import dispatch
from .cli.exits import CertainExit


def main() -> int:
    """Do what the command line asks and return the exit status."""
    certain_exit = CertainExit()
    console.prepare()
    return certain_exit.with_code(dispatch(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
