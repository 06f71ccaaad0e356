"""Run a folder in batch mode until it is done, or until somebody ends the process."""

import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

from batch_desk import QUICK, Ask

from openai_parallel_toolkit import BatchOptions, RunStopped


def main(config, source, target):
    toolkit = Ask(config, source, target, mode="batch", num_threads=4, batch=BatchOptions(**QUICK))
    try:
        summary = toolkit.run()
    except RunStopped as stopped:
        print(json.dumps(stopped.summary.as_dict()), flush=True)
        raise
    print(json.dumps(summary.as_dict()))


if __name__ == "__main__":
    main(*sys.argv[1:])
