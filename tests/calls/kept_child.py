"""Asks for lines under a journal, and is killed on the way if told so.

python kept_child.py URL JOURNAL COUNT [KILL_AFTER]
"""

import os
import signal
import sys
import threading

from openai_parallel_toolkit import APIKeyManager, Gpt35Turbo, multi_process_one, request_openai_api

url, journal, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
keys = APIKeyManager([{"key": "sim-good", "api_base": url}])
first = request_openai_api(Gpt35Turbo("one call"), keys, journal=journal)
lines = [("be brief", f"line {n % 50}") for n in range(count)]
if len(sys.argv) > 4:
    threading.Timer(float(sys.argv[4]), os.kill, (os.getpid(), signal.SIGKILL)).start()
answers = multi_process_one(lines, Gpt35Turbo, 4, keys=keys, journal=journal)
print(len(answers), len([first, *answers]), sep="\n")
