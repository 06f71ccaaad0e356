"""What is printed can be used as it stands: commands, reasons, amounts, and errors for programs."""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest

from openai_parallel_toolkit.cli.dispatch import dispatch
from openai_parallel_toolkit.core import command_line
from openai_parallel_toolkit.runs.causes import FailureCauses


@pytest.fixture
def here(workspace, monkeypatch):
    """A workspace in this process."""
    monkeypatch.chdir(workspace.root)
    for name in ("OPENAI_API_KEY", "OPENAI_API_KEYS", "AZURE_OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return workspace


def test_a_hint_is_a_command_that_runs_from_here_and_is_short_where_path_leads_to_it(here):
    script = here.root / "bin" / command_line.PROGRAM
    script.parent.mkdir()
    script.write_text("#!/bin/sh\necho it ran\n")
    script.chmod(0o755)
    told = subprocess.run(
        [sys.executable, "-c", _TELLS, str(script)],
        env={**os.environ, "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert told == [f"bin/{command_line.PROGRAM} status 'my out'", "it ran"]
    env = {**os.environ, "PATH": f"{script.parent}:/usr/bin:/bin"}
    told = subprocess.check_output([sys.executable, "-c", _TELLS, str(script)], env=env, text=True)
    assert told.splitlines() == [f"{command_line.PROGRAM} status 'my out'", "it ran"]


_TELLS = """
import subprocess, sys
sys.argv = sys.argv[1:]
from openai_parallel_toolkit.core.command_line import command
line = command("status", "my out")
print(line, flush=True)
subprocess.run(line, shell=True, check=True)
"""


def test_the_command_that_tries_again_never_shows_a_secret(monkeypatch):
    given = [f"/x/{command_line.PROGRAM}", "run", "a.py", "https://me:canary-word@host/in", "out"]
    monkeypatch.setattr(sys, "argv", given)
    assert command_line.started_as() == ""
    monkeypatch.setattr(sys, "argv", [*given[:3], "in", "out"])
    assert command_line.started_as("--retry-failed").endswith(" run a.py in out --retry-failed")
    assert command_line.started_as("out").endswith(" run a.py in out")


def test_without_a_key_the_way_to_try_it_all_the_same_is_told(here, capsys):
    assert dispatch(["keys"]) == 2
    told = capsys.readouterr().err
    assert re.search(r"`\S.* simulate` starts it, or with `\S.* demo`", told)


def test_errors_are_one_json_object_on_standard_output_where_json_is_asked_for(here, capsys):
    for given, code, words in [
        (["status", "nowhere", "--json"], "UsageError", "no run has begun in 'nowhere'"),
        (["failures", "--json"], "UsageError", "OUT"),
        (["keys", "--json"], "ConfigError", "no API key was found"),
        (["keys", "--json", "--chek"], "UsageError", "did you mean --check?"),
    ]:
        assert dispatch(given) == 2
        shown = capsys.readouterr()
        error = json.loads(shown.out)["error"]
        assert (error["code"], error["exit_status"]) == (code, 2)
        assert words in error["message"]
        assert shown.err.count("\n") == 1


def test_an_error_that_stopped_a_run_stands_beside_its_summary(workspace, sim):
    told = workspace.inputs(1).configure(sim, "empty").run("--json").json
    assert (told["left"], told["error"]["code"]) == (1, "NoUsableKey")
    assert told["error"]["exit_status"] == 4


@pytest.fixture
def failed(workspace, sim):
    """Three inputs that are no text, and one that is."""
    workspace.configure(sim).inputs(1)
    for n in range(3):
        (workspace.root / "in" / f"paper{n}.pdf").write_bytes(b"%PDF " + b" " * n + b"\xff")
    workspace.result = workspace.run("--log-file", "run.log")
    return workspace


def test_failures_of_one_cause_are_told_once_and_what_to_do(failed):
    told = failed.result.out
    (cause,) = re.findall(r"^  3 x (UnicodeDecodeError: .*)", told, re.MULTILINE)
    assert "is it utf-8 text? pattern or exclude leaves such files out, binary=True" in cause
    assert "(first: paper" in told
    command = told.partition("To try them again: ")[2].splitlines()[0]
    again = subprocess.run(
        shlex.split(command), cwd=failed.root, capture_output=True, text=True, check=False
    )
    assert (again.returncode, "1 skipped, 3 failed" in again.stdout) == (1, True)


def test_the_log_file_has_start_end_and_totals(failed):
    log = (failed.root / "run.log").read_text()
    assert f"run 1 begins in {failed.state}" in log
    assert "finished: Files: 1 done, 0 skipped, 3 failed" in log
    assert "finished: Calls: 1 sent, 1 answered" in log


def test_failures_say_so_in_the_exit_status_where_that_is_asked_for(failed, monkeypatch, capsys):
    monkeypatch.chdir(failed.root)
    assert dispatch(["failures", "out"]) == 0  # it did what it was to do: `set -e` goes on
    assert capsys.readouterr().out.count("UnicodeDecodeError") == 3
    assert dispatch(["failures", "out", "--exit-code"]) == 1
    assert dispatch(["failures", "out", "--exit-code", "--json"]) == 1


def test_requests_in_flight_are_not_told_as_lost(workspace, holding_sim, let_go):
    from cli_workspace import until

    workspace.inputs(1).configure(holding_sim)
    with workspace.start_run() as process:
        until(lambda: holding_sim.ledger.hits() == 1)
        live = workspace.give("status", "out").out
        process.kill()
        process.communicate()
    let_go.set()
    assert "Calls:  1 sent, 0 answered, 1 in flight in all runs" in live
    assert "lost" not in live
    dead = workspace.give("status", "out").out
    assert "1 cut off at the end of their run (maybe billed)" in dead


def test_what_differs_by_name_or_number_has_one_cause_and_what_differs_by_status_has_not():
    causes = FailureCauses()
    for n in range(3):
        causes.add("KeyError", f"no title in a/f{n}.txt, line {n}", f"a/f{n}.txt")
        causes.add("RequestFailed", f"500 internal (request req_abcdef{n})", f"a/f{n}.txt")
    causes.add("RequestFailed", "429 internal (request req_abcdef9)", "b.txt")
    told = [(cause.count, cause.words, cause.example) for cause in causes.told()]
    assert told == [
        (3, "KeyError: no title in a/f0.txt, line 0", "a/f0.txt"),
        (3, "RequestFailed: 500 internal (request req_abcdef0)", "a/f0.txt"),
        (1, "RequestFailed: 429 internal (request req_abcdef9)", "b.txt"),
    ]


def test_show_says_which_answers_made_the_output_and_status_which_files_cost_most(
    workspace, sim, monkeypatch, capsys
):
    workspace.configure(sim).write("in/small.txt", "short").write("in/large.txt", "word " * 400)
    workspace.run()
    hooks = (workspace.root / "hooks.py").read_text()
    workspace.write("hooks.py", hooks.replace("content=data)", 'content=data, prompt="Again:")'))
    workspace.run("--force")
    monkeypatch.chdir(workspace.root)
    dispatch(["show", "out", "small.txt"])
    shown = capsys.readouterr().out
    assert "made in run 2 of the answers marked *, and of kept ones" in shown
    calls = [line for line in shown.splitlines() if " by good" in line]
    assert [line.startswith("  * ") for line in calls] == [False, True]
    dispatch(["status", "out", "--top-cost", "1", "--json"])
    (dearest,) = json.loads(capsys.readouterr().out)["top_cost"]
    assert (dearest["path"], dearest["answers"]) == ("large.txt", 2)
    dispatch(["status", "out", "--top-cost"])
    table = capsys.readouterr().out.partition("Dearest files")[2].splitlines()[1:]
    assert [line.split()[0] for line in table] == ["large.txt", "small.txt"]
