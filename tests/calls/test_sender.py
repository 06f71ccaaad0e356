"""The thread that sends ends with the process, also when nobody closed anything."""

import subprocess
import sys

LEAVES = """
import atexit, threading
atexit.register(lambda: print([one.name for one in threading.enumerate()]))
from openai_parallel_toolkit import APIKeyManager
from openai_parallel_toolkit.calls.sender import Sender
keys = APIKeyManager([{"key": "sim-good", "api_base": "http://name.invalid/v1"}])
Sender.of(keys)
print([one.name for one in threading.enumerate()])
"""


def test_no_thread_of_the_senders_runs_while_python_ends():
    done = subprocess.run(
        [sys.executable, "-c", LEAVES], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["['MainThread', 'sender']", "['MainThread']"]
