"""The command `batch`, as people give it: in processes of its own, with signals and mistakes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from folder_fixture import a_line
from forked_process import ForkedProcess

from openai_parallel_toolkit.simulator import Fault

HOME = Path(__file__).parents[2]


class Shell:
    """Gives commands in a fixture's folder."""

    def __init__(self, fixture):
        self.root = fixture.root

    def start(self, *arguments, env=None):
        return ForkedProcess(
            ["-m", "openai_parallel_toolkit", "batch", *arguments],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(HOME), **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def give(self, *arguments, env=None):
        process = self.start(*arguments, env=env)
        out, err = process.communicate(timeout=30)
        assert "Traceback" not in err, err
        return process.returncode, out, err


@pytest.fixture
def shell(fixture):
    return Shell(fixture)


def until(is_so):
    limit_s = time.monotonic() + 15
    while not is_so():
        assert time.monotonic() < limit_s, "it did not happen"
        time.sleep(0.02)


def test_three_folders_and_a_config_are_enough(fixture, sim, shell):
    fixture.put("a.jsonl")
    code, out, _ = shell.give("in", "out", "err", "--config", "config.json", "--no-progress")
    assert code == 0
    assert "Files: 1 done" in out
    assert len(fixture.results("a.jsonl")) == 3


def test_a_file_says_all_of_it_and_its_paths_start_beside_it(fixture, sim, shell):
    fixture.put("a.jsonl")
    told = {"config_path": "config.json", "input_path": "in", "output_path": "out"}
    (fixture.root / "batch.json").write_text(json.dumps({**told, "batch_size": 2}))
    code, out, _ = shell.give("--config", fixture.root / "batch.json", "--json")
    assert code == 0
    assert json.loads(out)["lines_answered"] == 3
    code, out, _ = shell.give(env={"APP_CONFIG": "batch.json"})
    assert code == 0


def test_failures_are_the_exit_status_and_lie_in_errors_unless_told_otherwise(fixture, sim, shell):
    fixture.put("a.jsonl", "{")
    code, _, _ = shell.give("in", "out", "--config", "config.json", "--no-progress")
    assert code == 1
    assert list((fixture.output / "errors").glob("a_2*/a_error.jsonl"))


def test_failures_of_all_files_are_one_list(fixture, sim, shell):
    sim.script.replace([Fault("400", path="#line", marker="poison")])
    fixture.put("a.jsonl", a_line("good"), a_line("bad", "poison"))
    fixture.put("deep/b.jsonl", a_line("x"), "{")
    shell.give("in", "out", "err", "--config", "config.json")
    code, out, _ = shell.give("failures", "err")
    assert code == 0
    assert "malformed_line" in out
    _, out, _ = shell.give("failures", "in", "out", "err", "--config", "config.json", "--json")
    found = json.loads(out)
    assert [(one["custom_id"], one["line"], one["status"]) for one in found] == [
        ("bad", None, 400),
        (None, 2, None),
    ]


def test_no_key_is_shown_or_written(fixture, sim, shell):
    fixture.give_keys("sim-canary-5417", "sim-test")
    fixture.put("a.jsonl")
    code, out, err = shell.give("in", "out", "err", "--config", "config.json")
    assert code == 0
    assert "dropped" in err
    fixture.config.unlink()
    written = "".join(path.read_text() for path in fixture.root.rglob("*.json*") if path.is_file())
    for key in ("canary-5417", "sim-test"):
        assert key not in out + err + written


def test_ctrl_c_leaves_batches_running_and_the_next_run_collects_them(fixture, sim, shell):
    sim.batch_controls.hold()
    fixture.put("a.jsonl")
    process = shell.start("in", "out", "--config", "config.json", "--json")
    until(lambda: [batch for batch in sim.batches.batches() if batch.status == "in_progress"])
    until(lambda: "running" in fixture.stages())
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    told = json.loads(out)
    assert (told["left"], told["batches_left"]) == (1, 1)
    assert "run it again to go on" in err

    code, out, _ = shell.give("status", "out")
    assert code == 0
    assert "Under way: 1 file\n" in out
    assert "a.jsonl" in out

    sim.batch_controls.release()
    code, out, _ = shell.give("in", "out", "--config", "config.json", "--json")
    assert code == 0
    assert json.loads(out)["done"] == 1
    assert len(sim.batches.batches()) == 1


def test_cancel_stops_what_is_at_the_provider_and_what_was_answered_is_kept(fixture, sim, shell):
    sim.batch_controls.set_pace(seconds=4)
    fixture.put("a.jsonl", *[a_line(f"l{n}", f"text {n}") for n in range(40)])
    process = shell.start("in", "out", "--config", "config.json")
    until(lambda: "running" in fixture.stages())
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == 143
    [batch] = sim.batches.batches()
    until(lambda: batch.completed > 0)
    code, out, _ = shell.give("cancel", "out", "--config", "config.json")
    assert code == 0
    assert "Told to stop: 1 batch;" in out
    sim.batch_controls.set_pace(seconds=0.1)
    code, out, _ = shell.give("in", "out", "--config", "config.json", "--json")
    told = json.loads(out)
    assert told["lines_answered"] == batch.completed
    assert told["lines_answered"] + told["lines_failed"] == 40
    assert len(sim.batches.batches()) == 1


def test_where_nothing_is_at_the_provider_cancel_says_so(fixture, sim, shell):
    fixture.put("a.jsonl")
    shell.give("in", "out", "--config", "config.json")
    code, out, _ = shell.give("cancel", "out", "--config", "config.json")
    assert code == 0
    assert out == "No batch is at the provider; nothing was cancelled.\n"
    code, out, _ = shell.give("in", "out", "--config", "config.json", "--no-progress")
    assert code == 0
    assert "No input was there" in out


def test_status_of_a_run_points_to_the_one_of_batch_folders(fixture, sim, shell):
    fixture.put("a.jsonl")
    shell.give("in", "out", "--config", "config.json")
    asked = [sys.executable, "-m", "openai_parallel_toolkit", "status", "out"]
    env = {**os.environ, "PYTHONPATH": str(HOME)}
    result = subprocess.run(
        asked, check=False, cwd=fixture.root, env=env, capture_output=True, text=True
    )
    assert result.returncode == 2
    assert "use `batch status OUT`" in result.stderr


def test_templates_of_both_forms_are_written_and_never_over_something(fixture, shell):
    code, _, err = shell.give("--init", "here")
    assert code == 0
    names = {
        str(path.relative_to(fixture.root / "here"))
        for path in fixture.root.rglob("here/**/*.json")
    }
    assert names == {
        "batch.json",
        "config.json",
        "azure/app_config.json",
        "azure/AOAI_config.json",
        "azure/storage_config.json",
    }
    assert "fill in" in err
    code, _, err = shell.give("--init", "here")
    assert code == 2
    assert "is there already" in err


@pytest.mark.parametrize("form", ["batch.json", "azure/app_config.json"])
def test_a_template_that_was_not_filled_in_is_told_by_file_and_field(shell, form):
    shell.give("--init", "here")
    code, _, err = shell.give("--config", f"here/{form}")
    assert code == 2
    assert "is a placeholder" in err
    assert "here/" in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("in",), "output_path is missing"),
        (("nowhere", "out"), "there is no input folder"),
        (("in", "in"), "is the input location"),
        (("in", "out", "err", "more"), "at most three places"),
        (("in", "out", "--batch-size", "0"), "batch_size: expected a positive"),
        (("status", "out"), "no run has begun"),
        (("status",), "`batch status` wants a folder"),
        (("cancel",), "`batch cancel` wants a folder"),
        (("failures",), "`batch failures` wants a folder"),
        (("failures", "nowhere"), "no folder 'nowhere'"),
        (("cancel", "nowhere"), "no run has begun"),
        (("in", "out", "--config", "missing.json"), "missing.json"),
    ],
)
def test_a_mistake_is_one_line(fixture, shell, arguments, told):
    if "--config" not in arguments and arguments[0] not in {"status", "cancel", "failures"}:
        arguments += ("--config", "config.json")
    code, _, err = shell.give(*arguments)
    assert code == 2
    assert told in err
    assert err.count("\n") == 1


def test_when_no_key_is_left_each_fact_is_told_once(fixture, sim, shell):
    fixture.give_keys("sim-nobody")
    for name in ("a.jsonl", "b.jsonl"):
        fixture.put(name)
    for more in ((), ("--no-progress",)):
        code, out, err = shell.give("in", "out", "--config", "config.json", *more)
        assert code == 4
        told = out + err
        assert told.count("no key can take a batch") == 1
        assert told.count("Incorrect API key") == 1
        assert "2 left" in out
        assert "Stopped: see the error." in out


def test_status_tells_that_a_batch_was_cancelled(fixture, sim, shell):
    sim.batch_controls.hold()
    fixture.put("a.jsonl")
    process = shell.start("in", "out", "--config", "config.json")
    until(lambda: "running" in fixture.stages())
    process.terminate()
    process.communicate(timeout=30)
    _, out, _ = shell.give("status", "out")
    assert " running " in out
    shell.give("cancel", "out", "--config", "config.json")
    _, out, _ = shell.give("status", "out")
    assert " cancelling " in out
    until(lambda: sim.batches.batches()[0].status == "cancelled")
    shell.give("cancel", "out", "--config", "config.json")
    _, out, _ = shell.give("status", "out", "--json")
    assert json.loads(out)["under_way"][0]["stage"] == "cancelled"
