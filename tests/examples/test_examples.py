"""Every example runs as its head says, pays what it should, and is in the list of them."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from openai_parallel_toolkit.simulator import Simulator
from openai_parallel_toolkit.simulator.command import keys_from

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples"
README = (EXAMPLES / "README.md").read_text(encoding="utf-8")
SCRIPTS = sorted(str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.py"))
TEXTS = {f"{n}.json" for n in ("bread", "compass", "lighthouse", "birds/crane", "birds/swift")}
DROPPED = "key .* is dropped: 429 insufficient_quota.*\n"


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What comes of an example."""

    #: Requests that the first run pays, and the second.
    pays: int
    pays_again: int = 0
    #: Among what the first run prints.
    says: str
    #: Below the folder out/ and one folder in it, or below out/ itself.
    outputs: frozenset[str] = frozenset()
    #: A pattern of all that goes to stderr.
    grumbles: str = ""


def of_texts(pays, says="Files: 5 done, 0 skipped", **more):
    return Expected(pays=pays, says=says, outputs=frozenset(TEXTS), **more)


#: Told where the head has the address in the environment and the keys in a file.
WHERE_TO = re.compile(r"keys from \S+\.json go to http://127\.0\.0\.1:\d+/v1, which .*\n")

EXPECTED = {
    "api_queue.py": Expected(pays=5, pays_again=5, says="bread: 1536 numbers"),
    "api_requester.py": Expected(pays=40, pays_again=40, says="What is 2 + 2? What is 2 + 2?"),
    "async_hooks.py": of_texts(15),
    "batch_folder.py": Expected(pays=5, says="Files: 2 done, 1 failed"),
    "batch_mode.py": of_texts(10),
    "cost.py": of_texts(5, says="Files: 2 done, 3 skipped"),
    "embeddings.py": Expected(pays=6, pays_again=1, says="texts/birds/swift.txt"),
    "folder.py": of_texts(10),
    "long_texts.py": of_texts(12),
    "many_keys.py": of_texts(10, says="second: dropped", grumbles=DROPPED),
    "many_prompts.py": Expected(pays=12, says="Translate to Greek. compass: compass"),
    "one_call.py": Expected(pays=1, pays_again=1, says="Name three rivers."),
    "own_generate.py": Expected(pays=2, says="Why is the sky blue?"),
    "structured.py": Expected(pays=3, pays_again=3, says="It is a kettle. -> "),
    "testing_hooks.py": Expected(
        pays=0, says="", grumbles=rf"\.{DROPPED}\.\n-+\nRan 2 tests in .*\n\nOK\n"
    ),
    "threads.py": of_texts(22),
    "originals/calls.py": Expected(pays=5, pays_again=5, says="hello world\n['hello', 'world']"),
    "originals/parallel_toolkit.py": Expected(
        pays=2, says="Files: 2 done", outputs=frozenset({"hello.json", "morning.json"})
    ),
    "originals/queue_of_requests.py": Expected(pays=5, pays_again=5, says="Name 5 rivers."),
    "originals/requester.py": Expected(
        pays=3, pays_again=3, says="[{'input': 'What is 53 + 53?', 'content': 'What"
    ),
}


class Head:
    """What the docstring of an example tells its reader to do."""

    def __init__(self, script):
        text = ast.get_docstring(ast.parse((EXAMPLES / script).read_text(encoding="utf-8")))
        lines = [line[4:] for line in text.splitlines() if line.startswith("    ")]
        assert lines[-1].endswith(f"python {Path(script).name}")
        self.commands = "\n".join(lines)
        asked = re.search(r"`openai-parallel-toolkit simulate --port 8123(?: --keys (\S+))?`", text)
        assert asked or self.commands.startswith("python "), "how is it run without a key?"
        self.keys = keys_from((asked and asked[1]) or "test")


def carry_out(commands, server, folder):
    """Give commands as a reader would, with the simulator at another port."""
    commands = commands.replace("http://127.0.0.1:8123", server.azure_endpoint)
    commands = re.sub(r"\bpython (?=\S+$)", f"'{sys.executable}' -W error ", commands)
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        ["sh", "-ec", commands],
        cwd=folder,
        env={name: value for name, value in env.items() if not name.startswith("COV")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def outputs(folder):
    found = {}
    for path in folder.glob("out/**/*.json"):
        if path.name.endswith("_metadata.json"):  # of a BatchFolder, in a folder with the time
            continue
        if path.name == "progress.json":  # of the run's state
            continue
        parts = path.relative_to(folder / "out").parts
        found["/".join(parts[0 if len(parts) == 1 else 1 :])] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_example_runs_as_its_head_says_and_a_second_time(script, tmp_path):
    expected, head = EXPECTED[script], Head(script)
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("out"))
    folder = (tmp_path / "examples" / script).parent
    with Simulator(head.keys, seed=7) as server:
        first = carry_out(head.commands, server, folder)
        assert first.returncode == 0, first.stderr
        grumbles = WHERE_TO.sub("", first.stderr)
        assert re.fullmatch(expected.grumbles, grumbles), first.stderr
        assert expected.says in first.stdout
        assert server.ledger.billed() == expected.pays
        made = outputs(folder)
        assert set(made) == expected.outputs
        assert all(made.values())

        second = carry_out(head.commands, server, folder)
        assert second.returncode == 0, second.stderr
        assert server.ledger.billed() == expected.pays + expected.pays_again
        assert outputs(folder) == made


def test_every_example_is_listed_with_what_a_second_run_pays():
    rows = re.findall(r"^\| \[(\S+\.py)\]\((\S+)\) \| .+ \| (.+) \|$", README, re.MULTILINE)
    assert [name for name, _, _ in rows] == [target for _, target, _ in rows]
    assert sorted(name for name, _, _ in rows) == SCRIPTS
    for name, _, pays in rows:
        assert (pays == "nothing") == (EXPECTED[name].pays > 0 == EXPECTED[name].pays_again), name
