"""What the READMEs of the projects that this one grew out of show runs as it was written.

Those are CZT0/OpenAI-Parallel-Toolkit (folders, calls), mahmoudhage21/Parallel-LLM-API-Requester,
NREL/elm (ApiQueue), Azure-Samples/aoai-batch-api-accelerator (see tests/stores) and the OpenAI
cookbook's script (see tests/prompts). The calls, arguments and attributes are theirs; only the
module-level call has today's name.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from provider_fixture import CHAT, provider

from openai_parallel_toolkit.simulator import Fault, SimKey, Simulator

ORIGINALS = Path(__file__).parent / "originals"
REPOSITORY = Path(__file__).parents[2]


class Desk:
    """A folder into which somebody has pasted an example."""

    def __init__(self, root):
        self.root = root
        (root / "input").mkdir()

    def configure(self, sim):
        config = {"api_keys": [key.secret for key in sim.keys], "api_base": sim.url}
        (self.root / "config.json").write_text(json.dumps(config))
        (self.root / "config.json").chmod(0o600)

    def put(self, name, text):
        (self.root / "input" / name).write_text(text)

    def run(self, script, **env):
        """Run an example and return the lines that it prints."""
        shutil.copy(ORIGINALS / f"{script}.py", self.root)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
        done = subprocess.run(
            [sys.executable, "-W", "error", f"{script}.py"],
            cwd=self.root,
            env={**inherited, "PYTHONPATH": str(REPOSITORY), **env},
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        self.warnings = done.stderr
        return done.stdout.splitlines()

    def outputs(self):
        paths = (self.root / "output").iterdir()
        return {p.name: json.loads(p.read_text()) for p in paths if not p.name.startswith(".")}


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


@pytest.fixture
def sim():
    with Simulator([SimKey("a"), SimKey("b")], seed=7) as sim:
        yield sim


def test_a_folder_is_worked_on_and_a_second_run_skips_what_is_there(desk, sim):
    desk.configure(sim)
    for n in range(3):
        desk.put(f"{n}.json", json.dumps({"text": f"letter {n}"}))
    desk.run("folder")
    assert desk.outputs() == {f"{n}.json": {"result": f"letter {n}"} for n in range(3)}
    (desk.root / "output" / "1.json").unlink()
    desk.put("3.json", '{"text": "letter 3"}')
    desk.run("folder")
    assert sorted(desk.outputs()) == ["0.json", "1.json", "2.json", "3.json"]
    assert sim.ledger.billed() == 4


def test_keys_without_quota_and_with_full_limits_make_way_for_the_next(desk):
    faults = [Fault("429", key="limited", at=[1], retry_after=0.05)]
    keys = [SimKey("empty", quota="none"), SimKey("limited"), SimKey("good")]
    with Simulator(keys, seed=7, faults=faults) as sim:
        desk.configure(sim)
        for n in range(6):
            desk.put(f"{n}.json", json.dumps({"text": f"letter {n}"}))
        desk.run("folder")
        assert len(desk.outputs()) == sim.ledger.billed() == 6
        assert sim.ledger.billed("empty") == 0


def test_the_parts_of_one_file_come_back_in_their_order(desk, sim):
    desk.configure(sim)
    desk.put("parts.txt", "".join(f"part {n}\n" for n in range(12)))
    desk.run("one_file")
    assert desk.outputs() == {"parts.json": [f"part {n}" for n in range(12)]}
    assert sim.ledger.billed() == 12


def test_a_generate_that_returns_the_completion_gives_its_text(desk, sim):
    desk.configure(sim)
    assert desk.run("own_model") == ["good morning", "['salt', 'pepper']"]
    assert {(row.model, row.key != "") for row in sim.ledger.rows()} == {("gpt-4", True)}
    assert sim.ledger.billed() == 3


def test_two_lines_are_a_call(desk, sim):
    desk.configure(sim)
    assert desk.run("two_lines") == ["good evening"]
    assert sim.ledger.billed() == 1


def test_a_list_uses_the_keys_of_the_manager_that_was_made(desk, sim):
    desk.configure(sim)
    (line,) = desk.run("list_of_prompts")
    assert ast.literal_eval(line) == [f"river {n}" for n in range(5)]
    assert min(sim.ledger.billed("a"), sim.ledger.billed("b")) > 0


def test_tokens_are_counted_and_texts_cut_at_their_sentences(desk):
    count, pieces = desk.run("tokens")
    assert (count, ast.literal_eval(pieces)) == ("2", ["你好。", "再见。"])


def add(_, body):
    """Answer as a service does that can add and was told to answer in JSON."""
    said = json.loads(body)["messages"][-1]["content"]
    numbers = re.findall(r"\d+", said)
    if not numbers:
        return 400, {"error": {"code": "invalid_value", "message": "that is no sum"}}
    text = json.dumps({"content": str(sum(map(int, numbers)))})
    choice = {**CHAT["choices"][0], "message": {"role": "assistant", "content": text}}
    return 200, {**CHAT, "choices": [choice]}


def azure(server):
    return f"AZURE_OPENAI_API_KEY = false-key-of-azure\nAZURE_OPENAI_ENDPOINT={server.url[:-3]}\n"


def test_a_hundred_sums_come_back_in_their_order_from_azure(desk):
    with provider(add) as server:
        (desk.root / ".env").write_text(azure(server))
        first, is_all = desk.run("requester")
    assert ast.literal_eval(first) == [
        {"input": "How much is 1 + 1?", "content": "2"},
        {"input": "How much is 2 + 2?", "content": "4"},
    ]
    assert is_all == "True"
    assert len(server.heads) == 100
    path, headers = server.heads[0]
    assert path.startswith("/openai/deployments/gpt-35-turbo/chat/completions?api-version=")
    assert headers["api-key"] == "false-key-of-azure"


def test_the_older_names_do_the_same_and_what_fails_for_good_is_beside_the_rest(desk):
    with provider(add) as server:
        (desk.root / ".env").write_text(azure(server))
        results, settings, gave_up, marked = desk.run("requestor")
    assert ast.literal_eval(results) == [
        {"input": "How much is 53 + 53?", "content": "106"},
        {"input": "How much is 100 + 100?", "content": "200"},
    ]
    assert settings == "gpt-35-turbo 1.0 20 100"
    assert gave_up == "gave up: RequestRejected"
    assert ast.literal_eval(marked) == [
        {"input": "How much is a fish?", "content": "None"},
        {"input": "How much is 53 + 53?", "content": "106"},
    ]


def place(sim):
    return {"OPENAI_API_KEY": sim.keys[0].secret, "OPENAI_BASE_URL": sim.url}


def test_a_queue_of_chats_gives_raw_responses_and_empty_ones_for_ignored_errors(desk):
    refused = Fault("content_filter_400", marker="[[refused]]")
    with Simulator([SimKey("good")], seed=7, faults=[refused]) as sim:
        ignored, figures, out = desk.run("queue_chat", **place(sim))
    assert ignored == "nothing for query 2: True"
    assert figures == "3 False [1, 1, 1]"
    first, second, third = ast.literal_eval(out)
    assert (first, third) == ("Where is the Rhine?", "Where is the Po?")
    assert second["choices"][0]["message"]["content"] == ""


def test_a_queue_can_be_submitted_and_collected_by_hand(desk, sim):
    submitted, lengths = desk.run("queue_embeddings", **place(sim))
    assert (submitted, lengths) == ("[0, 1, 2] 3", "[1536, 1536, 1536]")
    assert sim.ledger.billed() == 3


def test_a_queue_stops_with_a_runtime_error_after_its_retries(desk):
    with Simulator([SimKey("good")], seed=7, faults=[Fault("500")]) as sim:
        assert desk.run("queue_gives_up", **place(sim)) == ["stopped: True [None] True"]
        assert sim.ledger.hits() == 2
