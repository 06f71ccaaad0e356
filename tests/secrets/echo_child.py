"""Give the commands of a file, one after the other, as the command line does."""

import json
import sys
from pathlib import Path

from openai_parallel_toolkit.cli import console
from openai_parallel_toolkit.cli.dispatch import dispatch

if __name__ == "__main__":
    console.prepare()
    commands = json.loads(Path(sys.argv[1]).read_text())
    statuses = [[" ".join(one), dispatch(one)] for one in commands]
    Path(sys.argv[2]).write_text(json.dumps(statuses))
