"""`batch cancel` for a folder that `run --mode batch` works on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from forked_process import ForkedProcess

from openai_parallel_toolkit.simulator import Fault

HOME = Path(__file__).parents[2]
HOOKS = """\
from openai_parallel_toolkit import Gpt35Turbo, ParallelToolkit, request_openai_api


class Mine(ParallelToolkit):
    def process_input(self, file):
        return file.read()

    def process_data(self, data):
        return request_openai_api(Gpt35Turbo(content=data))

    def process_output(self, data, output_file_without_ext):
        with open(output_file_without_ext + ".txt", "w") as out:
            out.write(data)
"""


def start(root, *arguments):
    return ForkedProcess(
        ["-m", "openai_parallel_toolkit", *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(HOME)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_batches_of_a_run_in_batch_mode_are_cancelled_and_told(fixture, sim):
    sim.batch_controls.hold()
    (fixture.root / "hooks.py").write_text(HOOKS)
    for n in range(3):
        (fixture.input / f"f{n}.txt").write_text(f"text {n}")
    config = ("--config", "config.json")
    process = start(fixture.root, "run", "hooks.py", "in", "out", "--mode", "batch", *config)
    limit_s = time.monotonic() + 20
    while not [batch for batch in sim.batches.batches() if batch.status == "in_progress"]:
        assert time.monotonic() < limit_s, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    process.communicate()
    # The service takes its time: meanwhile it is told what is waited for.
    sim.script.replace([Fault("slow", method="GET", seconds=3.0, times=1)])
    process = start(fixture.root, "batch", "cancel", "out", *config, "--json")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "cancelling, which may take minutes: 1 batch at work\n" in err
    assert json.loads(out) == {"cancelled": 1, "calls": 3, "left": 0, "answered": 0}
    assert [batch.status for batch in sim.batches.batches()] == ["cancelled"]
