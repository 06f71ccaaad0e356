"""Run a folder in batch mode until it is done, or until somebody ends the process.

Given a checkpoint, it kills itself there: "batch.uploading:2" is where the work comes to that step
for the second time.
"""

import itertools
import json
import os
import signal
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

import batch_fixture

from openai_parallel_toolkit import BatchOptions, RunStopped
from openai_parallel_toolkit.core.checkpoint import EVENT


def die_at(place):
    name, number = place.split(":")
    count = itertools.count(1)

    def look(event, told):
        if event == EVENT and told == (name,) and next(count) == int(number):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)


def main(config, source, target, kind, max_lines, place):
    if place:
        die_at(place)
    options = BatchOptions(**batch_fixture.QUICK, max_lines=int(max_lines))
    hooks = getattr(batch_fixture, kind)
    toolkit = hooks(config, source, target, mode="batch", num_threads=4, batch=options)
    try:
        summary = toolkit.run()
    except RunStopped as stopped:
        print(json.dumps(stopped.summary.as_dict()), flush=True)
        raise
    print(json.dumps(summary.as_dict()))


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGHUP):  # who starts the tests may have them ignored
        signal.signal(
            number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        )
    main(*sys.argv[1:])
