"""`openai-parallel-toolkit`, also as `python -m openai_parallel_toolkit`."""

from __future__ import annotations

import sys

from .cli import console
from .cli.dispatch import dispatch
from .cli.ending import Ending


def main() -> int:
    """Do what the command line asks and return the exit status."""
    ending = Ending()
    console.prepare()
    return ending.of(dispatch(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
