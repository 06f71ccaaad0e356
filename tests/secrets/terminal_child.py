"""Run a toolkit as a script does, then give commands, all with names and texts that are hostile."""

import sys

from hooks import Mine
from hostile import HOSTILE

from openai_parallel_toolkit import APIKeyManager, APIRequester, FilesFailed, ToolkitError
from openai_parallel_toolkit.cli import console
from openai_parallel_toolkit.cli.dispatch import dispatch

STEER = "\x1b[31m\x07\u202e"


class Raising(Mine):
    def process_data(self, data):
        if "raise" in data:
            raise ValueError(HOSTILE)
        return super().process_data(data)


def script():
    keys = APIKeyManager(config_path="live.config")
    toolkit = Raising(None, "in", f"out{STEER}", key_manager=keys, num_threads=2, max_retries=0)
    try:
        toolkit.run()
    except FilesFailed as exc:
        print(exc, exc.summary, sep="\n")
    asked = APIRequester(f"gpt{HOSTILE}", keys=keys, azure=False, max_retries=0)
    asked.get_responses_parallel(
        [[{"role": "user", "content": f"how={how}"}] for how in ("good", "broken")]
    )
    for mistake in (
        lambda: APIKeyManager([{"key": "sk-1234567", "name": HOSTILE}]),
        lambda: APIKeyManager([{"key": "sk-1234567", HOSTILE: HOSTILE}]),
        lambda: APIKeyManager(config_path=f"none{HOSTILE}"),
        lambda: Mine(None, f"nowhere{HOSTILE}", "out", key_manager=keys).run(),
    ):
        try:
            mistake()
        except ToolkitError as exc:
            print(exc, file=sys.stderr)
    keys.close()


def commands(files):
    console.prepare()
    out = f"out{STEER}"
    for command in (
        [
            "run",
            "hooks.py",
            "in",
            out,
            "--config",
            "live.config",
            "--log-file",
            "run.log",
            "--max-retries",
            "0",
        ],
        [
            "run",
            "hooks.py",
            "in",
            f"other{STEER}",
            "--config",
            "live.config",
            "--max-retries",
            "0",
            "--mode",
            "batch",
        ],
        ["status", out],
        ["failures", out],
        *(["show", out, file, "--full"] for file in files),
        ["show", out, f"none{HOSTILE}"],
        ["status", f"none{HOSTILE}"],
        ["keys", "--config", "live.config", "--check"],
        ["keys", "--config", f"none{HOSTILE}"],
        ["run", f"{HOSTILE}.py", "in", out],
        ["prompts", f"{HOSTILE}.txt", "o.jsonl", "--model", HOSTILE],
        [
            "prompts",
            "p.txt",
            f"o{STEER}.jsonl",
            "--model",
            f"m{HOSTILE}",
            "--config",
            "live.config",
            "--max-retries",
            "0",
        ],
        ["batch", "failures", f"none{STEER}"],
        [f"what{HOSTILE}"],
    ):
        dispatch(command)


if __name__ == "__main__":
    if sys.argv[1] == "script":
        script()
    else:
        commands(sys.argv[2:])
